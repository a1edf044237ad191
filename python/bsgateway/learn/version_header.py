"""What a model file says about itself, as far as it may be shown: the file may be anybody's."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

from ..core import core
from ..errors import ModelError
from ..models import MAX_CREATED
from ..terminal import printable
from ..web.views import HeldOut

MAX_NAME = 80
"""Characters of a name."""
MAX_NAMES = 30
"""Labels, and estimates, at most."""
MAX_POINTS = 101

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Curve = Annotated[tuple[tuple[Share, Share], ...], msgspec.Meta(max_length=MAX_POINTS)]
Found = TypeVar("Found")


class _Estimate(msgspec.Struct, frozen=True):
    value: float
    low: float | None = None
    high: float | None = None


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """Fields as in `views.ModelVersion`."""

    id: str
    kind: str
    created: str
    rows: int
    labels: dict[str, int]
    held_out: tuple[HeldOut, ...]
    better: bool | None
    curve: tuple[tuple[float, float], ...]
    random_curve: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, data: bytes) -> Described:
        """What the model in `data` says. Raises ModelError for one that would be refused."""
        try:
            model = core.LearnedModel(data)
        except ValueError as error:
            raise ModelError(f"this model would be refused: {error}") from error
        # Not as a whole, with `ModelHeader`: a model with a wrong description scores all the same.
        header = msgspec.json.decode(model.description, type=dict[str, Any])
        said = _typed(header.get("held_out"), dict[str, Any]) or {}
        labels = _typed(header.get("labels"), dict[str, int]) or {}
        return cls(
            id=model.id,
            kind=model.kind,
            created=printable((_typed(header.get("created"), str) or "")[:MAX_CREATED]),
            rows=_typed(header.get("rows"), int) or 0,
            labels={_name(name): count for name, count in list(labels.items())[:MAX_NAMES]},
            held_out=tuple(_held_out(said)[:MAX_NAMES]),
            better=_typed(said.get("better"), bool),
            curve=_typed(said.get("curve"), Curve) or (),
            random_curve=_typed(said.get("random_curve"), Curve) or (),
        )


def _held_out(said: dict[str, Any]) -> list[HeldOut]:
    """`apgr`, what the model is better by (`difference`), and the APGR of others by their name. A prior has several
    APGRs: one for each file that was left out."""
    apgr = said.get("apgr")
    several = isinstance(apgr, dict) and "value" not in apgr
    found: dict[str, Any] = dict(apgr) if several else {"apgr": apgr}  # type: ignore[arg-type] # it is a dict
    found["difference"] = said.get("difference")
    others = said.get("others")
    found.update(others if isinstance(others, dict) else {})
    estimates = ((name, _estimate(value)) for name, value in found.items())
    return [HeldOut(name=_name(name), value=e.value, low=e.low, high=e.high) for name, e in estimates if e is not None]


def _estimate(value: Any) -> _Estimate | None:
    number = _typed(value, float)
    return _typed(value, _Estimate) if number is None else _Estimate(number)


def _typed(value: Any, kind: type[Found]) -> Found | None:
    """`value` if it is a `kind`. Whole numbers are floats as well."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


def _name(text: str) -> str:
    return printable(text[:MAX_NAME])
