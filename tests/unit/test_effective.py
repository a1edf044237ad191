"""`effective.py`: the configuration that LiteLLM really gets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from bsgateway.effective import CALLBACK, effective_config

MakeConfig = Callable[..., Any]


def router_of(make_config: MakeConfig, host: dict[str, Any] | None = None, **routing: Any) -> dict[str, Any]:
    router: dict[str, Any] = effective_config(make_config(host, **routing))["router_settings"]
    return router


def test_what_is_added(make_config: MakeConfig) -> None:
    config = make_config()
    effective = effective_config(config)
    assert effective["litellm_settings"] == {"callbacks": ["bsgateway.hook.handler"]}
    assert effective["router_settings"] == {
        # Where the hook does not run (count_tokens, /v1/models), routed names stand for the fallback tier's model.
        "model_group_alias": {"auto": "middle", "cheap": "middle", "best": "middle", "frontier": "large"},
        "num_retries": 0,
        "fallbacks": [{"small": ["middle"]}, {"middle": ["large"]}],
        "context_window_fallbacks": [{"small": ["middle"]}, {"middle": ["large"]}],
    }
    assert {key: effective[key] for key in ("model_list", "routing")} == config.host


def test_the_config_itself_is_not_changed(make_config: MakeConfig) -> None:
    config = make_config()
    before = copy.deepcopy(config.host)
    effective_config(config)["model_list"].clear()
    assert config.host == before


def test_the_result_is_plain_yaml(make_config: MakeConfig) -> None:
    effective = effective_config(make_config())
    assert yaml.safe_load(yaml.safe_dump(effective)) == effective


def test_doing_it_again_adds_nothing(make_config: MakeConfig) -> None:
    once = effective_config(make_config())
    assert effective_config(make_config({key: value for key, value in once.items() if key != "routing"})) == once


@pytest.mark.parametrize(
    ("given", "callbacks"),
    [
        (None, [CALLBACK]),
        ([], [CALLBACK]),
        ("prometheus", ["prometheus", CALLBACK]),
        (["a", "b"], ["a", "b", CALLBACK]),
        (CALLBACK, [CALLBACK]),
        (["a", CALLBACK, "b"], ["a", CALLBACK, "b"]),  # the operator's order
    ],
)
def test_callbacks(make_config: MakeConfig, given: Any, callbacks: list[str]) -> None:
    effective = effective_config(make_config({"litellm_settings": {"callbacks": given, "drop_params": True}}))
    assert effective["litellm_settings"] == {"callbacks": callbacks, "drop_params": True}


def test_the_operators_settings_win(make_config: MakeConfig) -> None:
    ours: dict[str, Any] = {
        "model_group_alias": {"auto": "small", "other": "large"},
        "num_retries": 3,
        "fallbacks": [{"small": ["large"]}],
        "context_window_fallbacks": [],
        "timeout": 5,
    }
    assert router_of(make_config, {"router_settings": ours}) == {
        **ours,
        "model_group_alias": {
            "auto": "small",
            "other": "large",
            "cheap": "middle",
            "best": "middle",
            "frontier": "large",
        },
    }


@pytest.mark.parametrize("name", ["fallbacks", "context_window_fallbacks"])
def test_fallbacks_in_litellm_settings_win_too(make_config: MakeConfig, name: str) -> None:
    router = router_of(make_config, {"litellm_settings": {name: [{"small": ["large"]}]}})
    assert name not in router
    assert {"fallbacks", "context_window_fallbacks"} - {name} <= set(router)


@pytest.mark.parametrize("section", ["litellm_settings", "router_settings"])
def test_sections_that_are_there_and_empty(make_config: MakeConfig, section: str) -> None:
    assert effective_config(make_config({section: None})) == effective_config(make_config())
    empty = {"router_settings": {"model_group_alias": None}}
    assert effective_config(make_config(empty)) == effective_config(make_config())


def test_each_model_falls_back_to_the_next_tier_up(make_config: MakeConfig) -> None:
    tiers = {
        "high": {"score_range": [60, 100], "models": ["large", "middle"]},
        "low": {"score_range": [0, 29], "models": ["small", "middle"]},
        "mid": {"score_range": [30, 59], "model": "middle"},
    }
    router = router_of(make_config, tiers=tiers, fallback_tier="mid")
    # `middle` does not fall back to itself, nor does the highest tier fall back at all.
    assert router["fallbacks"] == [{"small": ["middle"]}, {"middle": ["large"]}]


def test_a_single_tier_has_nowhere_to_fall_back_to(make_config: MakeConfig) -> None:
    tiers = {"only": {"score_range": [0, 100], "models": ["small", "large"]}}
    assert router_of(make_config, tiers=tiers, fallback_tier="only")["fallbacks"] == []


def test_aliases_of_aliases_stand_for_their_end(make_config: MakeConfig) -> None:
    aliases = {"a": "b", "b": "c", "c": "large", "d": "e", "e": "auto_route"}
    assert router_of(make_config, aliases=aliases)["model_group_alias"] == {
        "a": "large", "b": "large", "c": "large", "d": "middle", "e": "middle"
    }  # fmt: skip


def test_references_stay_references(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "the secret")
    effective = effective_config(make_config({"general_settings": {"master_key": "os.environ/SOME_KEY"}}))
    assert effective["general_settings"] == {"master_key": "os.environ/SOME_KEY"}
    assert "the secret" not in str(effective)
