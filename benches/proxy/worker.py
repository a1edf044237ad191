"""One LiteLLM proxy: a single process on uvloop, quiet, without a database or telemetry of its own.

The variants differ by their configuration only. With `--hook-times FILE` the methods of the gateway's callback and
the log's tasks are timed, and FILE tells the sums when the process ends.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import uvicorn

from bsgateway.upstreams.child import exit_with_parent


def main() -> None:
    """Serve until SIGTERM or the end of standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--config", required=True)
    parser.add_argument("--hook-times", type=Path)
    options = parser.parse_args()
    exit_with_parent()
    os.environ["CONFIG_FILE_PATH"] = options.config
    # Both are read when LiteLLM is imported.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"  # no .env file is searched for
    from litellm.proxy.proxy_server import app

    if options.hook_times is not None:
        from benches.proxy.timers import HookTimes

        HookTimes(options.hook_times).install()
    uvicorn.run(app, host="127.0.0.1", port=options.port, loop="uvloop", log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
