"""A process that runs examples one after the other: LiteLLM is imported once for all of them.

It reads JSON, one request a line: {"directory": ..., "python": source} or {"directory": ..., "arguments": [...]} for
the command `bsgateway`, and answers each with {"code": exit code, "output": what was printed}. Each example of Python
has names of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback
from typing import Any

import anthropic  # noqa: F401 (imported for the examples, once)
import litellm
import openai  # noqa: F401
from click.testing import CliRunner

from bsgateway.cli import main

CALLBACKS = ("callbacks", "success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback")


def run_python(source: str) -> tuple[int, str]:
    """Run an example as a program; its exit code and what it printed, or the traceback."""
    output = io.StringIO()
    before = {name: list(getattr(litellm, name)) for name in CALLBACKS}
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            exec(compile(source, "example.py", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        return int(end.code or 0), output.getvalue()
    except BaseException:
        return 1, output.getvalue() + traceback.format_exc()
    finally:
        for name, callbacks in before.items():
            setattr(litellm, name, callbacks)
    return 0, output.getvalue()


def run_command(arguments: list[str]) -> tuple[int, str]:
    """Run `bsgateway` with these arguments, without a terminal."""
    result = CliRunner().invoke(main, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, result.output + "".join(traceback.format_exception(result.exception))
    return result.exit_code, result.stdout if result.exit_code == 0 else result.output


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Run one example."""
    os.chdir(request["directory"])
    code, output = run_python(request["python"]) if "python" in request else run_command(request["arguments"])
    return {"code": code, "output": output}


if __name__ == "__main__":
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints past Python is no reply
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=replies, flush=True)
