"""LiteLLM's complexity router with `classifier_type: llm`, on the same server and model.

What is called is what its proxy awaits for a request, as of ours the hook is. Its options as good as they get for
this: temperature 0, a bound on the answer, the model kept loaded, no earlier turns; its time-out and ours are the same.
It has no memo of verdicts: LiteLLM's response cache stands for one where repeats are measured.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from litellm.router import Router
from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

PLACES = {"SIMPLE": "simple", "MEDIUM": "medium", "COMPLEX": "complex", "REASONING": "complex"}
"""Its four tiers -> ours, by place; its two highest are our highest."""
VERDICT = "llm_classifier"
"""Its word for a tier that the model named."""
MAX_TOKENS = 32
"""Of its answer, `{"tier": "REASONING"}`; it sets no bound itself."""


class Placed(NamedTuple):
    """What its hook did with a request: `cause` says what made the tier, which is one of ours, and `failure` why its
    model did not."""

    seconds: float
    tier: str | None
    cause: str
    failure: str | None


class Peer:
    """One router. `tiers`, our names and what belongs in each, replaces its own four tiers; None: those. `num_ctx` has
    to be ours: for another one the server loads the model anew. `cached` has LiteLLM remember all answers of models, in
    memory; for good, in all of the process."""

    def __init__(
        self,
        model: str,
        api_base: str,
        timeout: float,
        num_ctx: int,
        tiers: Mapping[str, str] | None = None,
        cached: bool = False,
    ) -> None:
        judge = {
            "model": f"ollama_chat/{model}",
            "api_base": api_base,
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "keep_alive": "30m",
            "num_ctx": num_ctx,
        }
        served = {"model": "openai/model", "api_key": "none"}
        router = Router(
            model_list=[
                {"model_name": "judge", "litellm_params": judge},
                {"model_name": "model", "litellm_params": served},
            ],
            num_retries=0,
            cache_responses=cached,
        )
        config: dict[str, Any] = {
            "classifier_type": "llm",
            "classifier_llm_config": {"model": "judge", "timeout_ms": round(timeout * 1000)},
            "classifier_context_window_size": 0,
            "tiers": dict.fromkeys(PLACES if tiers is None else tiers, "model"),
        }
        if tiers is not None:
            config["tier_definitions"] = [{"name": name, "description": said} for name, said in tiers.items()]
            config["fallback_tier"] = list(tiers)[len(tiers) // 2]
        self._router = ComplexityRouter("auto", router, config)

    async def place(self, ask: str) -> Placed:
        """Have it route a request of one ask."""
        messages = [{"role": "user", "content": ask}]
        began = time.perf_counter()
        found = await self._router.async_pre_routing_hook("auto", {"metadata": {}}, messages)
        took = time.perf_counter() - began
        decision: Mapping[str, Any] = (found.routing_decision if found is not None else None) or {}
        tier = decision.get("tier")
        return Placed(
            took, PLACES.get(str(tier), tier), str(decision.get("cause")), decision.get("classifier_failure_reason")
        )
