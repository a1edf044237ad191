"""`ModelHeader`: what a model file says about itself, as its maker wrote it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .core import core
from .errors import ModelError


class ModelHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON text under `bsgateway` in the metadata of a model file.

    `kind`: prior (comes with the package) or trained. `target`: what the margin was fitted to, `fail` (the cheap model
    fails) or `gain` (what the dear model is better by). `created`: RFC 3339, UTC. `rows`: how many it was trained on,
    `labels` how many by the source of their label. `held_out`: scores on rows that it was not trained on, by name.
    `provenance`: where the rows come from. `settings`: with what it was fitted.
    """

    kind: Literal["prior", "trained"]
    target: str
    created: str
    rows: int
    labels: dict[str, int] = {}
    held_out: dict[str, Any] = {}
    provenance: list[Any] = []
    settings: dict[str, Any] = {}
    format: int = 1
    feature_version: int = core.FEATURE_VERSION
    input_names: tuple[str, ...] = core.INPUT_NAMES

    @classmethod
    def of(cls, model: core.LearnedModel) -> ModelHeader:
        """What `model` says about itself. Raises ModelError for a description that is none."""
        try:
            return msgspec.json.decode(model.description, type=cls)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise ModelError(f"the description in the model file is wrong: {error}") from error
