"""An operator's own authentication, copied beside the tests' gateway.yaml: the keys are a table."""

from typing import Any

from fastapi import HTTPException, Request
from litellm.proxy._types import UserAPIKeyAuth

PER_DAY = {"budget_duration": "1d"}
NOTHING = {"max_budget": 0.0, **PER_DAY}
"""A budget that is used up before the first request."""

KEYS: dict[str, dict[str, Any]] = {
    "all": {"models": ["auto", "auto-hard", "frontier", "small", "medium", "large"]},
    "free-for-all": {"models": []},
    "no-frontier": {"models": ["auto", "auto-hard", "small", "medium"]},
    "small-only": {"models": ["auto", "auto-hard", "small"]},
    "auto-only": {"models": ["auto", "auto-hard", "claude-*", "frontier"]},
    "aliased": {"models": ["auto-hard", "small"], "aliases": {"large": "small", "medium": "small"}},
    "team": {"team_id": "team-a", "team_models": ["auto-hard", "medium"], "user_id": "user-a"},
    "team-aliased": {
        "team_id": "team-b",
        "team_models": ["auto-hard", "small"],
        "team_model_aliases": {"large": "small", "medium": "small"},
    },
    "spent": {"models": ["auto-hard", "frontier", "medium", "large"], "model_max_budget": {"large": NOTHING}},
    "team-spent": {
        "team_id": "team-c",
        "team_models": ["auto-hard", "frontier", "medium", "large"],
        "team_model_max_budget": {"large": NOTHING},
    },
    "all-spent": {
        "models": ["auto-hard", "small", "medium"],
        "model_max_budget": {"small": NOTHING, "medium": NOTHING},
    },
    "spends": {
        "models": ["auto", "small", "medium"],
        "model_max_budget": {"small": {"max_budget": 1e-9, **PER_DAY}},
    },
    "slow": {"models": ["auto", "small", "medium"], "metadata": {"model_rpm_limit": {"small": 1}}},
    "slow-only": {"models": ["auto", "small"], "metadata": {"model_rpm_limit": {"small": 1}}},
    "modest": {"metadata": {"bsgateway": {"max_tier": "simple"}}},
    "modest-team": {
        "metadata": {"bsgateway": {"bias": 100, "min_tier": "complex"}},
        "team_id": "team-d",
        "team_metadata": {"bsgateway": {"max_tier": "medium"}},
    },
    "mistaken": {"key_alias": "mistaken", "metadata": {"bsgateway": {"max_tier": "sk-nope", "bias": "sk-many"}}},
    "admin": {"user_role": "proxy_admin"},
    "few-tokens": {"models": ["auto", "small", "medium"], "metadata": {"model_tpm_limit": {"small": 1}}},
    "small-tokens": {"models": ["auto", "small"], "metadata": {"model_tpm_limit": {"small": 1}}},
}
"""What LiteLLM is told of the key `sk-key-NAME`."""


async def authenticate(request: Request, api_key: str) -> UserAPIKeyAuth:
    """See LiteLLM's `custom_auth`."""
    name = api_key.removeprefix("sk-key-")
    if name not in KEYS:
        raise HTTPException(401, "no such key")
    # A copy: LiteLLM writes into what it is given.
    return UserAPIKeyAuth(api_key=api_key, **{field: _copy(value) for field, value in KEYS[name].items()})


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return list(value) if isinstance(value, list) else value
