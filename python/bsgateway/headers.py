"""The `x-bsgateway-*` headers of an answer: what was decided, and which model really served it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from .outcome import mapping, text

MODEL_HEADER = "x-bsgateway-model"
HEADERS = {
    "x-bsgateway-decision-id": "decision_id",
    MODEL_HEADER: "resolved_model",
    "x-bsgateway-tier": "tier",
    "x-bsgateway-score": "complexity_score",
    "x-bsgateway-strategy": "strategy",
    "x-bsgateway-method": "method",
    "x-bsgateway-reason": "reason",
    "x-bsgateway-would-use": "would_use",
    "x-bsgateway-changes": "changes",
    "x-bsgateway-ignored": "ignored",
    "x-bsgateway-llm": "llm",
}
"""Response header -> field of the decision's stamp (see `decision.stamp`). A header whose field is empty is not sent;
the model is the one that really served, which a fallback of LiteLLM may have changed."""

_FIELDS = tuple((name, field) for name, field in HEADERS.items() if name != MODEL_HEADER)
MAX_HEADER = 512
"""Characters of a header's value."""


def headers(stamp: Mapping[str, Any], served: Callable[[], str | None]) -> dict[str, str]:
    """The headers of an answer whose decision has this stamp. `served` names the model that really served, as far as it
    is known; it is asked again when the headers are sent."""

    def model() -> str:
        return header(served() or stamp["resolved_model"])

    found = {name: header(value) for name, field in _FIELDS if (value := stamp[field]) is not None}
    found[MODEL_HEADER] = _Late(model)
    return found


class _Late(str):
    """A header's value that is looked up when the headers are sent. LiteLLM asks for headers before the first event of
    a stream; if the provider fails until then, another model takes over."""

    _look_up: Callable[[], str]

    def __new__(cls, look_up: Callable[[], str]) -> _Late:
        value = super().__new__(cls, look_up())
        value._look_up = look_up
        return value

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return self._look_up().encode(encoding, errors)


def served_group(data: Mapping[str, Any], response: Any) -> str | None:
    """The model group that answered; None when nobody did, or LiteLLM does not say.

    LiteLLM notes it on the response, but takes the note off plain dicts (an unstreamed /v1/messages) before it asks for
    headers: then its logging object still knows.
    """
    if response is None:
        return None
    noted = mapping(mapping(getattr(response, "_hidden_params", None)).get("additional_headers"))
    if group := text(noted.get("x-litellm-model-group")):
        return group
    details = mapping(getattr(data.get("litellm_logging_obj"), "model_call_details", None))
    return text(mapping(mapping(details.get("litellm_params")).get("metadata")).get("model_group"))


def header(value: Any) -> str:
    """A header value: `value` as it stands, or escaped if it is not plain."""
    if type(value) is not str:
        return str(value)
    return value if _PLAIN(value) else _escaped(value)


_PLAIN = re.compile(rf"[A-Za-z0-9._/:-]{{1,{MAX_HEADER}}}").fullmatch


def _escaped(value: str) -> str:
    """A client chooses the model name it asks for, so anything but plain printable ASCII is escaped."""
    escaped = quote(value[:MAX_HEADER], safe=" !#$&'()*+,/:;<=>?@[]^_`{|}~.-", errors="replace")
    return escaped[:MAX_HEADER].strip(" ")  # a space at an end makes a header that some servers refuse to send
