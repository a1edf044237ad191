"""Whether the local LLM gives its verdicts, and in time: asked outside of any request. For `bsgateway doctor`."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping

import anyio
import msgspec

from ...config import Llm, Tier
from ...decision import LlmStatus
from ...ollama_server import LOOK_SECONDS, OllamaServer, ServerError
from . import Request
from .model import Model
from .remedy import address, remedy
from .target import Target

PROBE_SECONDS = 60.0
"""Longest wait for it all: a model that is not loaded takes its time."""
RECOMMENDED_TIMEOUT = 0.5
"""Seconds that hardly anyone notices, and that a small model which is loaded keeps to."""
# None of them is what the model is woken with: the beginning of the question is known to the server, the ask is not.
_ASKS = (
    Request("How many minutes are there in a day?"),
    Request("Write a haiku about the sea, and explain its metre."),
    Request("Prove that the set of real numbers is uncountable, and generalize the proof."),
)


class Health(msgspec.Struct, frozen=True):
    """`well`: verdicts come in time. `found` says how things are, `advice` what to do, if anything."""

    well: bool
    found: str
    advice: str = ""


async def probe(settings: Llm, target: Target, tiers: Mapping[str, Tier]) -> Health:
    """Load the model and ask it. Takes PROBE_SECONDS at most."""
    where = f"{target.model} at {address(target)}"
    try:
        with anyio.fail_after(PROBE_SECONDS):
            if not await _makes_text(target):
                advice = "name a model that chats in routing.classifier.llm.model"
                return Health(False, f"{where} makes no text; {settings.fallback} scores", advice)
            return _judged(where, await _latency(settings, target, tiers), settings)
    except TimeoutError:
        found = f"{where} gave no verdict within {PROBE_SECONDS:g} s; {settings.fallback} scores"
        return Health(False, found, "it may be loading: try again; else take a smaller model")
    except ServerError as error:
        if error.kind == "timeout":  # of the first question, which needs no model
            found = f"{where} said nothing within {LOOK_SECONDS:g} s; {settings.fallback} scores"
            return Health(False, found, "see the log of the server: it hangs, or is busy")
        status = LlmStatus[error.kind.upper()]
        said = status.doc if error.status is None else f"{status.doc} (status {error.status})"
        return Health(False, f"{where}: {said}; {settings.fallback} scores", remedy(status, settings, target))


async def _makes_text(target: Target) -> bool:
    """Whether it is no mere embedding model, as far as the server knows. Raises ServerError."""
    server = OllamaServer(target.api_base, timeout=LOOK_SECONDS, connections=1)
    try:
        capabilities = await server.capabilities(target.model)
    finally:
        await server.close()
    return not capabilities or "completion" in capabilities


async def _latency(settings: Llm, target: Target, tiers: Mapping[str, Tier]) -> float:
    """Seconds of a verdict once the model is loaded, the median of a few. Raises ServerError."""
    # Slow is something to tell here, and no failure.
    model = Model(msgspec.structs.replace(settings, timeout=PROBE_SECONDS), target, tiers)
    try:
        await model.wake()
        taken = []
        for ask in _ASKS:
            began = time.perf_counter()
            if (await model.ask(ask)).status is not LlmStatus.ASKED:
                raise ServerError("bad_answer")
            taken.append(time.perf_counter() - began)
    finally:
        await model.close()
    return statistics.median(taken)


def _judged(where: str, seconds: float, settings: Llm) -> Health:
    """What a latency means for the time-out."""
    enough = math.ceil(seconds * 20) / 10  # twice the time, in tenths of a second
    found = f"{where}: a verdict in {1000 * seconds:.0f} ms, the time-out is {settings.timeout:g} s"
    if seconds > settings.timeout:
        advice = f"take a smaller model or a faster machine, or set routing.classifier.llm.timeout to {enough:g}"
        return Health(False, f"{found}; {settings.fallback} scores", advice)
    found += f"; {settings.fallback} scores where there is none"
    if enough <= RECOMMENDED_TIMEOUT < settings.timeout:
        return Health(True, found, f"routing.classifier.llm.timeout: {RECOMMENDED_TIMEOUT:g} would do")
    return Health(True, found)
