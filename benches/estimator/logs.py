"""Logs: the messages that packages pass to `logging`, with generated values, in the line formats of common programs."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from .corpora import FIT, files

_PACKAGES = {
    FIT: ("django", "gradio", "jupyterlab", "botocore", "gensim"),
    "held out": ("ansible_core", "litellm", "textual", "streamlit", "sphinx"),
}
_LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
_LINES = 4000


def logs(split: str) -> Iterator[tuple[str, list[str]]]:
    """A log for each line format of `split`: the format's name, and the lines as one text."""
    messages = [found for package in _PACKAGES[split] for found in _messages(package)]
    for name, line in (_FIT_FORMATS if split == FIT else _HELD_OUT_FORMATS).items():
        random = Random(name)
        moment = datetime(2025, 3, 9, 11, 58, 3)
        lines = []
        for _ in range(_LINES):
            moment += timedelta(microseconds=random.expovariate(1 / 400_000))
            module, level, template = random.choice(messages)
            message = re.sub(r"%\(?\w*\)?[#0 +-]*\d*\.?\d*[srdfxi]|\0", lambda _, draw=random: _value(draw), template)
            lines.append(line(random, moment, module, level, message))
        yield name, ["\n".join(lines)]


def _messages(package: str) -> Iterator[tuple[str, str, str]]:
    """Module, level and text of each logging call in the source of `package`; \0 stands for a value of an f-string."""
    for name, data in files(package, r"\.py$"):
        for node in ast.walk(ast.parse(data)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _LEVELS:
                text = _text(node.args[0]) if node.args else ""
                if " " in text:
                    yield name.removesuffix(".py").replace("/", "."), node.func.attr, text


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return ""


_WORDS = re.findall(
    r"\w+",
    "worker queue session user cache index schema token batch shard replica job tenant order invoice report build node "
    "pod service config payload request response cluster region volume snapshot bucket stream topic partition",
)
_FAILURES = ("Value", "Key", "Type", "Connection", "Timeout")
_AGENTS = ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0 Safari/537.36", "curl/8.5.0")


def _word(random: Random) -> str:
    return random.choice(["{}", "{}_{}", "{}-{}", "{}{}"]).format(random.choice(_WORDS), random.choice(_WORDS))


def _path(random: Random) -> str:
    return "/" + "/".join(_word(random) for _ in range(random.randint(1, 4)))


def _address(random: Random) -> str:
    return ".".join(str(random.randrange(256)) for _ in range(4))


_VALUES: list[Callable[[Random], str]] = [
    _word,
    _word,
    _path,
    _address,
    lambda random: str(random.randrange(10 ** random.randint(1, 7))),
    lambda random: f"{random.expovariate(0.1):.{random.randint(1, 4)}f}",
    lambda random: str(UUID(int=random.getrandbits(128))),
    lambda random: f"{random.getrandbits(random.choice([32, 64, 160])):x}",
    lambda random: f"https://{_word(random)}.example.com{_path(random)}?id={random.randrange(9999)}",
    lambda random: repr({_word(random): random.randrange(100), _word(random): _word(random)}),
    lambda random: f"{_path(random)}.py",
    lambda random: f"{random.choice(_FAILURES)}Error('{_word(random)} {_word(random)}')",
]


def _value(random: Random) -> str:
    return random.choice(_VALUES)(random)


Line = Callable[[Random, datetime, str, str, str], str]


def _access(random: Random, moment: datetime, *_: str) -> str:
    request = f"{random.choice(['GET', 'POST', 'PUT'])} {_path(random)} HTTP/1.1"
    status, size = random.choice([200, 200, 304, 404, 500]), random.randrange(90_000)
    start = f"{_address(random)} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000]"
    return f'{start} "{request}" {status} {size} "-" "{random.choice(_AGENTS)}"'


def _json_line(random: Random, moment: datetime, module: str, level: str, message: str) -> str:
    record = {"timestamp": moment.isoformat(), "level": level, "logger": module, "message": message}
    return json.dumps(record | {"trace_id": f"{random.getrandbits(64):016x}", "duration_ms": random.randrange(2000)})


_FIT_FORMATS: dict[str, Line] = {
    "python": lambda _, moment, module, level, message: (
        f"{moment:%Y-%m-%d %H:%M:%S},{moment.microsecond // 1000:03} - {module} - {level.upper()} - {message}"
    ),
    "iso": lambda _, moment, module, level, message: (
        f"[{moment.isoformat(timespec='milliseconds')}Z] {level.upper():8} {module}: {message}"
    ),
    "syslog": lambda random, moment, module, level, message: (
        f"{moment:%b %e %H:%M:%S} {random.choice(_WORDS)}-{random.randrange(9)} "
        f"{module.split('.')[0]}[{random.randrange(32768)}]: {message}"
    ),
    "access": _access,
    "json": _json_line,
    "container": lambda _, moment, module, level, message: (
        f"{moment.isoformat()}000Z stdout F level={level} component={module} {message}"
    ),
}


def _java(random: Random, moment: datetime, module: str, level: str, message: str) -> str:
    thread = f"pool-{random.randrange(4)}-thread-{random.randrange(32)}"
    line = f"{moment:%H:%M:%S.%f} [{thread}] {level.upper():5} {module} - {message}"
    if level in ("exception", "error"):
        for _ in range(5):
            name = f"{random.choice(_WORDS).title()}Service"
            call = f"com.example.{random.choice(_WORDS)}.{name}.{random.choice(_WORDS)}"
            line += f"\n\tat {call}({name}.java:{random.randrange(900)})"
    return line


def _uvicorn(random: Random, moment: datetime, module: str, level: str, message: str) -> str:
    if random.random() < 0.7:
        status = random.choice(["200 OK", "404 Not Found"])
        return f'INFO:     {_address(random)}:{random.randrange(65536)} - "POST {_path(random)} HTTP/1.1" {status}'
    return f"{level.upper() + ':':10}{message}"


_HELD_OUT_FORMATS: dict[str, Line] = {
    "uvicorn": _uvicorn,
    "java": _java,
    "logfmt": lambda random, moment, module, level, message: (
        f"time={moment.isoformat()} level={level} caller={module}:{random.randrange(900)} "
        f"msg={json.dumps(message)} took={random.random():.3f}s"
    ),
    "klog": lambda random, moment, module, level, message: (
        f"{level[0].upper()}{moment:%m%d %H:%M:%S.%f} {random.randrange(99):7} "
        f"{module.split('.')[-1]}.go:{random.randrange(900)}] {message}"
    ),
    "nginx": lambda random, moment, module, level, message: (
        f"{moment:%Y/%m/%d %H:%M:%S} [{level}] {random.randrange(99)}#{random.randrange(99)}: "
        f"*{random.randrange(99999)} {message}, client: {_address(random)}, server: {_word(random)}"
    ),
}
