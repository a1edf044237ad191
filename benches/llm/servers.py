"""The servers that are asked: one with a real model, and one that answers by script until it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benches.proxy.processes import Child

from ollama_api import real as real_ollama
from ollama_api.scripted import MODEL, ScriptedOllama, hangs, says
from ollama_api.server import Exchange

HANGS, REFUSES = "hangs", "closes its port"
FAULTS = (HANGS, REFUSES)


class Server(NamedTuple):
    """Where it is, and the model it has."""

    url: str
    model: str


@contextlib.contextmanager
def real(directory: Path) -> Iterator[Server]:
    """A server with a model, in a process of its own: SmolLM2-135M-Instruct on one thread, one request at a time."""
    directory.mkdir(parents=True, exist_ok=True)
    with Child("ollama", real_ollama.MODULE, ("--watch-parent",), directory=directory, ready_path="/health") as child:
        child.wait_until_ready()
        yield Server(child.url, real_ollama.MODEL)


class Faulty:
    """A server that names the second of the tiers it is told of, at once, until a fault begins."""

    model = MODEL

    def __init__(self, server: ScriptedOllama) -> None:
        self._server = server
        self.url = server.url

    def begin(self, fault: str) -> None:
        """From now on nothing is answered."""
        if fault == HANGS:
            self._server.behave_always(hangs())
        else:
            self._server.refuse()

    def context_tokens(self) -> int:
        """The `num_ctx` of the newest question, which a server loads its model for."""
        return int(self._server.asked()[-1]["options"]["num_ctx"])

    def prompts(self) -> list[int]:
        """Characters of the messages of each question so far."""
        return [sum(len(message["content"]) for message in body["messages"]) for body in self._server.asked()]


@contextlib.contextmanager
def faulty() -> Iterator[Faulty]:
    """Such a server, in a thread of this process."""
    with ScriptedOllama(_names_a_tier).in_thread() as server:
        yield Faulty(server)


async def _names_a_tier(exchange: Exchange) -> None:
    await says(_words(exchange.call.body["format"])[1])(exchange)


def _words(schema: Any) -> list[str]:
    """The words that a JSON schema allows: of a string, or of an object with one."""
    if "properties" in schema:
        return _words(next(iter(schema["properties"].values())))
    words: list[str] = schema["enum"]
    return words
