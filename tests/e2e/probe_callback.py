"""Another operator's LiteLLM callback, copied beside the tests' gateway.yaml: it writes down what it can see."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

SEEN = Path(__file__).with_name("probe.jsonl")


class Probe(CustomLogger):
    """Appends a JSON line for each logged call."""

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """See LiteLLM's CustomLogger."""
        self._write("success", kwargs)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """See LiteLLM's CustomLogger."""
        self._write("failure", kwargs)

    def _write(self, event: str, kwargs: dict[str, Any]) -> None:
        params = kwargs.get("litellm_params") or {}
        line = {
            "event": event,
            "call_id": kwargs.get("litellm_call_id"),
            "loop": type(asyncio.get_running_loop()).__module__,
            "pid": os.getpid(),
            "metadata": _plain(params.get("metadata")),
            "litellm_metadata": _plain(params.get("litellm_metadata")),
            "payload_metadata": _plain((kwargs.get("standard_logging_object") or {}).get("metadata")),
        }
        with SEEN.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda _: None))


probe = Probe()
