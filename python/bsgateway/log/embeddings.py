"""Embeddings from an Ollama server, and what its failures mean for the texts.

Nothing that is raised here quotes a text: servers repeat in their errors what they were sent.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from bsgateway.config import Embedding, resolve_env
from bsgateway.errors import GatewayError
from bsgateway.ollama_server import OllamaServer, ServerError

MAX_DIMENSIONS = 16_000
"""Numbers of one embedding at most: as many as pgvector stores."""

CANARY = "Hello."
"""A text that any embedding model takes: when it fails too, a failure is not the fault of the texts."""

PROBE_SECONDS = 10.0
MAX_ANSWER_BYTES = 8_000_000
"""Bytes of an answer at most: several times what the embeddings of one call take as JSON."""
# Statuses that say nothing of the texts: where the server is, who may ask it, how busy it is, which models it has.
_AWAY = frozenset((401, 403, 404, 405, 407, 408, 421, 425, 426, 429, 503))


class ModelAway(GatewayError):
    """No text can be embedded now, whichever it is. The message is the kind of failure, a word or two."""


class CallFailed(GatewayError):
    """The call failed: for one of its texts, or for the state of the server. The message is the kind of failure.

    `refused`: the server answered that it will not do it, and needs not be asked again.
    """

    def __init__(self, kind: str, refused: bool = False) -> None:
        super().__init__(kind)
        self.refused = refused


class EmbeddingModel:
    """The model that `settings` name. Bound to the event loop of its first call; close it there."""

    def __init__(self, settings: Embedding, timeout: float | None = None) -> None:
        self.name = settings.model
        self._server = OllamaServer(
            resolve_env(settings.api_base),
            timeout=settings.timeout_seconds if timeout is None else timeout,
            connections=1,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )

    async def embed(self, texts: Sequence[str]) -> list[array[float]]:
        """One embedding for each text, in their order: 32-bit floats, finite, all of one length up to MAX_DIMENSIONS.

        Raises ModelAway or CallFailed, after `timeout_seconds` at the latest.
        """
        try:
            embeddings = await self._server.embed(self.name, texts)
        except ServerError as error:
            raise _meaning(error) from None
        return _checked(embeddings, len(texts))

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()


async def probe(settings: Embedding) -> str | None:
    """Ask for one embedding: what is wrong and what to do about it; None when all is well. For `bsgateway doctor`."""
    timeout = min(PROBE_SECONDS, settings.timeout_seconds)
    where = resolve_env(settings.api_base) or "the default address of Ollama"
    model = EmbeddingModel(settings, timeout)
    try:
        await model.embed([CANARY])
    except ModelAway as error:
        if str(error) == "status_404":
            return f"Ollama at {where} lacks {settings.model}: run `ollama pull {settings.model}`"
        return f"no Ollama answers at {where} ({error}): start it, or correct routing.collector.embedding.api_base"
    except CallFailed as error:
        if str(error) == "timeout":
            return f"{settings.model} at {where} gave no embedding within {timeout:g} s: it may be loading, try again"
        return f"{settings.model} at {where} makes no embeddings ({error}): name an embedding model"
    finally:
        await model.close()
    return None


def _meaning(error: ServerError) -> ModelAway | CallFailed:
    if error.status is not None:
        return _by_status(error.status)
    if error.kind == "unreachable":
        return ModelAway(error.kind)
    # The log's own words for them, which operators know from routing_texts.
    return CallFailed({"disconnected": "connection_lost", "bad_answer": "malformed_answer"}.get(error.kind, error.kind))


def _by_status(status: int) -> ModelAway | CallFailed:
    kind = f"status_{status}"
    if status in _AWAY or status < 400:
        return ModelAway(kind)
    return CallFailed(kind, refused=status < 500)


def _checked(embeddings: Sequence[Sequence[float]], count: int) -> list[array[float]]:
    if len(embeddings) != count:
        raise CallFailed("wrong_count")
    lengths = {len(embedding) for embedding in embeddings}
    if len(lengths) != 1 or not 0 < min(lengths) <= MAX_DIMENSIONS:
        raise CallFailed("wrong_length")
    # As they are stored: what is too large for 32 bits becomes infinite.
    found = [array("f", embedding) for embedding in embeddings]
    if not all(map(math.isfinite, (number for embedding in found for number in embedding))):
        raise CallFailed("not_finite")
    return found
