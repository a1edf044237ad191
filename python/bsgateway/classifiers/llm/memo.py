"""What the local model said before, by what it was asked. No words are kept: keys are digests."""

from __future__ import annotations

from collections.abc import Hashable
from hashlib import blake2b

import msgspec
from cachetools import TTLCache

from ...decision import LlmStatus
from . import Request, Verdict

_KEY_BYTES = 16


def request_key(request: Request, scope: str) -> bytes:
    """The same for requests that get the same verdict: their asks differ in case and white space only, so do the asks
    before them, and what surrounds them has about the same size. `scope` is what else a verdict depends on."""
    digest = blake2b(digest_size=_KEY_BYTES)
    for text in (scope, _plain(request.ask), _plain(request.tail), _plain(request.earlier)):
        encoded = text.encode("utf-8", "surrogatepass")  # JSON may hold halves of characters
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    for number in (request.messages, request.tools, request.context_tokens):
        digest.update(number.bit_length().to_bytes(2, "little"))
    return digest.digest()


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


class VerdictMemo:
    """Verdicts, each for `seconds`, the `entries` used last. Belongs to one event loop."""

    def __init__(self, entries: int, seconds: float) -> None:
        self._verdicts: TTLCache[Hashable, Verdict] | None = TTLCache(entries, seconds) if entries else None

    def __len__(self) -> int:
        return 0 if self._verdicts is None else len(self._verdicts)

    def get(self, key: Hashable) -> Verdict | None:
        """The verdict of a request with this key, as one that is remembered."""
        return None if self._verdicts is None else self._verdicts.get(key)

    def put(self, key: Hashable, verdict: Verdict) -> None:
        """Remember a verdict. Nothing else than one: trouble passes."""
        if verdict.status is not LlmStatus.ASKED:
            raise ValueError(f"{verdict.status} is no verdict")
        if self._verdicts is not None:
            self._verdicts[key] = msgspec.structs.replace(verdict, status=LlmStatus.KNOWN)
