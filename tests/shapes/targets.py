"""Models to translate for, and `translate` held to its promise to edit nothing in place."""

from __future__ import annotations

import copy
import json
from typing import Any

from bsgateway.catalog import Model
from bsgateway.translate import translate

SIGNED = "EqsBCkYIBxgCKkA"
ENCRYPTED = "litellm_encrypted_reasoning:gAAAAABo"
BY_CLAUDE = json.dumps([{"type": "thinking", "thinking": "Look.", "signature": SIGNED}])
GOOGLE_ID = "call_7d1__thought__" + "E" * 80

ALL = frozenset(("vision", "tools", "parallel_tools", "json_schema", "reasoning", "prompt_cache", "web_search"))
PLAIN = frozenset(("tools",))

CLAUDE = Model("opus", supports=ALL, max_input_tokens=1_000_000, family="anthropic", adaptive_thinking=True)
HAIKU = Model("haiku", supports=ALL, max_input_tokens=200_000, max_output_tokens=64_000, family="anthropic")
OLD_CLAUDE = Model("old", supports=PLAIN, max_output_tokens=4_096, family="anthropic")
GPT = Model("gpt", supports=ALL, max_output_tokens=128_000, family="openai")
GPT_4O = Model("4o", supports=ALL - {"reasoning"}, max_output_tokens=16_384, family="openai")
GEMINI = Model("gemini", supports=ALL, max_output_tokens=65_536, family="google")
LOCAL = Model("local", supports=PLAIN, family="other", local=True)
THINKING_LOCAL = Model("qwen", supports=PLAIN | {"reasoning"}, family="other", local=True)
MODELS = (CLAUDE, HAIKU, OLD_CLAUDE, GPT, GPT_4O, GEMINI, LOCAL, THINKING_LOCAL)


def edit(
    format: str, body: dict[str, Any], model: Model, *families: str, same: bool = False
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(the body after `translate`, what it says it changed). What the client sent must be as it was."""
    sent = copy.deepcopy(body)
    data = dict(body)
    changes = translate(data, format, model, families=families, same_model=same)
    assert body == sent, "what the client sent was edited in place"
    assert data.pop("drop_params") is True
    return data, changes
