"""Who is measured: our two cores and their peers, each made once, each called in one way; and the texts they read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from litellm.router import Router
from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

from bodies import BODIES, Body
from bsgateway import _core, reference
from bsgateway.config import Analysis, Static, Weights
from bsgateway.reference.tokens import count_tokens as _load_tiktoken  # it points tiktoken at LiteLLM's rank files

TEXT_KEYS = ("text", "content", "description", "input", "instructions", "prompt")
"""Keys under which the five formats have texts, or lists of what has."""


def settings(**changed: Any) -> dict[str, Any]:
    """Arguments of an `Analyzer` as the default configuration gives them; keyword arguments replace some."""
    return {
        "weights": msgspec.structs.asdict(Weights()),
        "token_thresholds": Static().token_thresholds,
        "complex_keywords": _core.default_complex_keywords(),
        "simple_keywords": _core.default_simple_keywords(),
        **msgspec.structs.asdict(Analysis()),
        "capture_chars": 0,
        **changed,
    }


def native(**changed: Any) -> _core.Analyzer:
    """The compiled core's analyzer."""
    return _core.Analyzer(**settings(**changed))


def twin(**changed: Any) -> reference.Analyzer:
    """The pure-Python twin's analyzer."""
    return reference.Analyzer(**settings(**changed))


@cache
def litellm_router(classifier: str) -> Callable[[str], Any]:
    """LiteLLM's complexity router with its default settings: `heuristic` is its version 1, `heuristic_v2` version 2.

    What is called is what its pre-routing hook awaits for a request. With these classifiers it never suspends, so it
    needs no event loop.
    """
    models = [{"model_name": "model", "litellm_params": {"model": "openai/model", "api_key": "none"}}]
    tiers = dict.fromkeys(("SIMPLE", "MEDIUM", "COMPLEX", "REASONING"), "model")
    router = ComplexityRouter("auto", Router(model_list=models), {"tiers": tiers, "classifier_type": classifier})

    def classify(ask: str) -> Any:
        return finished(router.aclassify(ask))

    return classify


def litellm_ask(body: Body) -> str | None:
    """The text LiteLLM's router classifies: the newest user message that a human wrote; None if there is none.

    It converts the formats that have no `messages` first; those are not compared.
    """
    ask, _ = ComplexityRouter._extract_user_message_and_system_prompt(body.body.get("messages", []))
    return ask


@cache
def tiktoken_counter() -> Callable[[list[str]], int]:
    """tiktoken's o200k_base over all texts of a request, one after the other."""
    _load_tiktoken("")
    import tiktoken

    encode = tiktoken.get_encoding("o200k_base").encode_ordinary
    return lambda texts: sum([len(encode(text)) for text in texts])


def texts(body: Body) -> list[str]:
    """Every text of a request that a model reads: system prompt, messages, and each tool as compact JSON."""
    tools = [json.dumps(tool, separators=(",", ":"), ensure_ascii=False) for tool in body.body.get("tools", ())]
    places = ("system", "messages", "input", "instructions", "prompt", "contents", "systemInstruction")
    return [*_strings([body.body[place] for place in places if place in body.body]), *tools]


def _strings(root: Any) -> Iterator[str]:
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value[key] for key in (*TEXT_KEYS, "parts") if key in value)


def parsed(body: Body) -> Body:
    """The same body in new objects, as a server has just read it."""
    return Body(body.format, msgspec.json.decode(msgspec.json.encode(body.body)))


_turns = count(1)


def new_turn() -> int:
    """A number that this process has not used yet."""
    return next(_turns)


def renewed(body: Body) -> Body:
    """The same body in new objects, none of whose texts was ever seen: a new number stands in the middle of each."""
    fresh, turn = parsed(body), new_turn()
    waiting: list[Any] = [fresh.body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            for key in TEXT_KEYS:
                if isinstance(text := value.get(key), str):
                    middle = text.find(" ", len(text) // 2) + 1
                    value[key] = f"{text[:middle]}{turn} {text[middle:]}"
            waiting.extend(inner for inner in value.values() if isinstance(inner, (list, dict)))
    return fresh


def size_of(body: Body) -> int:
    """Bytes of the compact JSON, of bodies of any depth."""
    total, waiting = 0, [body.body]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (dict, list)):
            total += 1 + max(len(value), 1)  # the brackets, and a comma between any two
            waiting.extend(value.values() if isinstance(value, dict) else value)
            total += sum(len(_leaf(key)) + 1 for key in value) if isinstance(value, dict) else 0
        else:
            total += len(_leaf(value))
    return total


def _leaf(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def finished(coroutine: Any) -> Any:
    """The result of a coroutine that does not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("the coroutine waits for something")


def _own_bodies() -> dict[str, Callable[..., Body]]:
    """The JSON files `{"format", "body"}` of the directory that BSGATEWAY_BENCH_BODIES names."""
    folder = os.environ.get("BSGATEWAY_BENCH_BODIES")
    if not folder:
        return {}
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise FileNotFoundError(f"BSGATEWAY_BENCH_BODIES={folder}: no *.json file there")
    read = {path.stem: Body(**msgspec.json.decode(path.read_bytes())) for path in paths}
    return {name: lambda turn=0, body=body: renewed(body) if turn else body for name, body in read.items()}


ALL_BODIES = {**BODIES, **_own_bodies()}
"""The bodies of `bodies.py`, and the user's own."""
