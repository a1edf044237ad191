"""Files of outcomes -> `Rows`: how well each of several models did on each prompt.

JSON lines, gzipped or not: `{"id": .., "prompt": .., "source": .., "outcomes": {model: score from 0 to 1}}`. Lines with
`"contaminated": true` are left out, as in RouteLLM's protocol. Other keys are not read.
"""

from __future__ import annotations

import difflib
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import numpy as np
import scipy.sparse as sp

from ..core import core
from ..errors import LearningError
from .asks import BATCH, Measured, default_analyzer, measure
from .rows import Rows
from .same_ask import ask_hash, hash63

Score = Annotated[float, msgspec.Meta(ge=0, le=1)]
Item = TypeVar("Item")

_MODELS_SHOWN = 12


class OutcomeLine(msgspec.Struct, frozen=True, gc=False):
    """One line: how well models did on a prompt."""

    prompt: str
    outcomes: Mapping[str, Score]
    id: str | int = ""
    source: str = ""
    contaminated: bool = False


def read_outcomes(
    path: Path,
    weak: str,
    strong: str,
    analyzer: core.Analyzer | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Rows:
    """The prompts of a file and the scores of two models, NaN where a line has none; lines with neither are left out.

    The same prompt, whatever its case and white space, is the same group everywhere. `at` is the number of the line.
    `analyzer` makes the static scores, by default that of the default settings. `advance` is told of rows.
    Raises LearningError: a file that cannot be read, a wrong line, a model that no line has.
    """
    analyzer = analyzer or default_analyzer()
    known: dict[str, None] = {}
    parts: list[Rows] = []
    for chunk in chunks(_wanted(path, (weak, strong), known), BATCH):
        measured = measure([line.prompt for _, line in chunk], analyzer)
        parts.append(rows_of(chunk, measured, weak, strong))
        advance(len(chunk))
    for model in (weak, strong):
        _check_known(path, model, known)
    return concat(parts)


def lines(path: Path) -> Iterator[tuple[int, OutcomeLine]]:
    """Number and content of each line that is not empty. Raises LearningError."""
    decoder = msgspec.json.Decoder(OutcomeLine)
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if not raw.isspace():
                    yield number, decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise LearningError(
            f"{path}:{number}: not an outcome: {error}: each line must be a JSON object with a text `prompt` and "
            "`outcomes`, an object of scores from 0 to 1 by the name of the model"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LearningError(f"{path}:{number + 1}: the gzip file is damaged ({error}): fetch it again") from error
    except OSError as error:
        raise LearningError(f"{path} cannot be read: {error.strerror or error}") from error


def _wanted(path: Path, models: Sequence[str], known: dict[str, None]) -> Iterator[tuple[int, OutcomeLine]]:
    """The lines with an outcome of one of `models`; all models that are met go to `known`."""
    for number, line in lines(path):
        known.update(dict.fromkeys(line.outcomes))
        if not line.contaminated and any(model in line.outcomes for model in models):
            yield number, line


def _check_known(path: Path, model: str, known: Mapping[str, None]) -> None:
    if model not in known:
        close = difflib.get_close_matches(model, known, 1)
        names = ", ".join(islice(known, _MODELS_SHOWN)) + (", ..." if len(known) > _MODELS_SHOWN else "")
        hint = f"did you mean {close[0]}?" if close else f"it has {names or 'no outcomes at all'}"
        raise LearningError(f"{path} has no outcome of {model}: {hint}")


def rows_of(chunk: Sequence[tuple[int, OutcomeLine]], measured: Measured, weak: str, strong: str) -> Rows:
    count = len(chunk)
    groups = (ask_hash(line.prompt) or hash63(f"{number}") for number, line in chunk)
    scores = {
        model: np.fromiter((line.outcomes.get(model, np.nan) for _, line in chunk), np.float64, count)
        for model in (weak, strong)
    }
    return Rows(
        inputs=measured.inputs,
        words=measured.words,
        weak=scores[weak],
        strong=scores[strong],
        weight=np.ones(count),
        group=np.fromiter(groups, np.int64, count),
        at=np.fromiter((number for number, _ in chunk), np.float64, count),
        length=measured.length,
        static=measured.static,
        prompts=measured.prompts,
        source=np.array([line.source for _, line in chunk], dtype=object),
    )


def concat(parts: Sequence[Rows]) -> Rows:
    """All rows of `parts`, in their order."""
    if not parts:
        return empty_rows()
    if len(parts) == 1:
        return parts[0]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Rows.__dataclass_fields__
        if name != "words"
    }
    return Rows(words=sp.vstack([part.words for part in parts], format="csr"), **columns)


def empty_rows() -> Rows:
    """No rows."""
    nothing = np.zeros(0)
    return Rows(
        inputs=np.zeros((0, len(core.INPUT_NAMES))),
        words=sp.csr_matrix((0, core.WORD_BUCKETS), dtype=np.float32),
        weak=nothing,
        strong=nothing,
        weight=nothing,
        group=np.zeros(0, np.int64),
        at=nothing,
        length=nothing,
        static=nothing,
        prompts=np.zeros(0, np.uint32),
        source=np.zeros(0, dtype=object),
    )


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items` in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
