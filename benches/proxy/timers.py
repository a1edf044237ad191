"""CPU time of the gateway's parts inside a running proxy. Only the benchmark's `--profile` installs these timers."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import time
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

EVERY = 50
"""Answers between two writes of the file."""

ANSWERED = "bsgateway.hook:GatewayCallback.async_log_success_event"
LOG = "bsgateway.log.pipeline:_forever"
ANALYZER = "bsgateway.gateway:make_analyzer"
PARTS = {
    "bsgateway.hook:GatewayCallback.async_pre_call_hook": "async_pre_call_hook",
    "bsgateway.callers:_caller": "  _caller",
    "bsgateway.gateway:Gateway.begin": "  Gateway.begin",
    "bsgateway.names:Names.resolve": "    Names.resolve",
    "bsgateway.wishes:Wisher.of": "    Wisher.of",
    ANALYZER: "    Analyzer.analyze (native)",
    "bsgateway.classifiers.static:StaticClassifier.classify": "    StaticClassifier.classify",
    "bsgateway.gateway:conversation_id": "    conversation_id",
    "bsgateway.gateway:is_side_request": "    is_side_request",
    "bsgateway.sessions:Sessions.get": "  Sessions.get",
    "bsgateway.cooldowns:Cooldowns.cooling": "  Cooldowns.cooling",
    "bsgateway.policy:Policy.choose": "  Policy.choose",
    "bsgateway.access:Access.refusal": "  Access.refusal",
    "bsgateway.hook:translate": "  translate",
    "bsgateway.gateway:Gateway.decision": "  Gateway.decision",
    "bsgateway.sessions:Sessions.put": "  Sessions.put",
    "bsgateway.hook:stamp": "  stamp",
    "bsgateway.host:ask_for_usage": "  ask_for_usage",
    "bsgateway.hook:GatewayCallback.async_pre_call_deployment_hook": "async_pre_call_deployment_hook",
    "bsgateway.hook:GatewayCallback.async_post_call_response_headers_hook": "async_post_call_response_headers_hook",
    ANSWERED: "async_log_success_event",
    "bsgateway.outcome:from_call": "  outcome.from_call",
    "bsgateway.hook:GatewayCallback._priced": "  _priced",
    "bsgateway.lifecycle:Lifecycle.record": "(of all) Lifecycle.record",
    LOG: "the log's thread, by its steps",
}
"""`module:name` of what is timed -> how the table calls it, indented below what calls it. One that no longer exists is
shown as such: this list follows the code by hand."""


class HookTimes:
    """Thread CPU time and number of calls by part; None for a part that does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sums: dict[str, list[int] | None] = {}

    def install(self) -> None:
        """Put a timer around each part."""
        for part in PARTS:
            module, _, name = part.partition(":")
            owner = importlib.import_module(module)
            *classes, attribute = name.split(".")
            for each in classes:
                owner = getattr(owner, each, None)  # type: ignore[assignment]
            inner = getattr(owner, attribute, None)
            if inner is None:
                self._sums[part] = None
            else:
                setattr(owner, attribute, self._timed(part, inner))

    def _timed(self, part: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        sums = self._sums[part] = [0, 0]

        def add(nanoseconds: int) -> None:
            sums[0] += 1
            sums[1] += nanoseconds
            if part == ANSWERED and sums[0] % EVERY == 0:
                self._path.write_text(json.dumps(self._sums), encoding="utf-8")

        if part == LOG:
            return functools.wraps(inner)(lambda *args: _Steps(inner(*args), add))
        if part == ANALYZER:
            return functools.wraps(inner)(lambda *args: _Analyzer(inner(*args), add))
        return _coroutine_function(inner, add) if inspect.iscoroutinefunction(inner) else _function(inner, add)


Add = Callable[[int], None]


def _function(inner: Callable[..., Any], add: Add) -> Callable[..., Any]:
    @functools.wraps(inner)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time_ns()
        try:
            return inner(*args, **kwargs)
        finally:
            add(time.thread_time_ns() - began)

    return timed


def _coroutine_function(inner: Callable[..., Any], add: Add) -> Callable[..., Any]:
    @functools.wraps(inner)
    async def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time_ns()  # the callback's methods never suspend: the thread's time is theirs
        try:
            return await inner(*args, **kwargs)
        finally:
            add(time.thread_time_ns() - began)

    return timed


class _Analyzer:
    """Stands before the native one, which takes no attributes."""

    def __init__(self, inner: Any, add: Add) -> None:
        self._inner = inner
        self.analyze = _function(inner.analyze, add)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Steps(Coroutine[Any, Any, Any]):
    """A coroutine whose steps from one suspension to the next are timed."""

    def __init__(self, inner: Coroutine[Any, Any, Any], add: Add) -> None:
        self._inner, self._add = inner, add

    def send(self, value: Any) -> Any:
        began = time.thread_time_ns()
        try:
            return self._inner.send(value)
        finally:
            self._add(time.thread_time_ns() - began)

    def throw(self, *args: Any) -> Any:
        return self._inner.throw(*args)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()
