"""`effective.py`: the configuration that LiteLLM really gets."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from bsgateway.effective import ALLOWED_FAILS, CALLBACK, effective_config

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
        "fallbacks": [{"small": ["middle", "large"]}, {"middle": ["large", "small"]}, {"large": ["middle", "small"]}],
        "context_window_fallbacks": [{"small": ["middle", "large"]}, {"middle": ["large"]}],
        "cooldown_time": 30,
    }
    assert effective["general_settings"] == {"enforce_fallback_model_access": True}
    policies = {entry["model_name"]: policy_of(entry) for entry in effective["model_list"]}
    assert policies == {"small": ALLOWED_FAILS, "middle": ALLOWED_FAILS, "large": ALLOWED_FAILS, "vendor/*": None}
    for entry in effective["model_list"]:
        entry.get("model_info", {}).pop("allowed_fails_policy", None)
    assert {key: effective[key] for key in ("model_list", "routing")} == config.host


def policy_of(entry: dict[str, Any]) -> Any:
    return entry.get("model_info", {}).get("allowed_fails_policy")


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
        "cooldown_time": 7,
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
def test_default_fallbacks_are_fallbacks(make_config: MakeConfig, section: str) -> None:
    router = router_of(make_config, {section: {"default_fallbacks": ["large"]}})
    assert "fallbacks" not in router


@pytest.mark.parametrize("section", ["litellm_settings", "router_settings"])
@pytest.mark.parametrize(
    "given",
    [{"allowed_fails": 3}, {"disable_cooldowns": True}, {"allowed_fails_policy": {"TimeoutErrorAllowedFails": 9}}],
    ids=lambda given: next(iter(given)),
)
def test_the_operators_cooldowns_win(make_config: MakeConfig, section: str, given: dict[str, Any]) -> None:
    effective = effective_config(make_config({section: given}))
    assert all(policy_of(entry) is None for entry in effective["model_list"])
    assert "cooldown_time" not in effective["router_settings"]


@pytest.mark.parametrize("given", [{"allowed_fails": 3}, {"allowed_fails_policy": {"TimeoutErrorAllowedFails": 9}}])
def test_those_of_a_deployment_too(make_config: MakeConfig, config_dict: dict[str, Any], given: dict[str, Any]) -> None:
    deployments = config_dict["model_list"]
    deployments[0]["model_info"] = given
    del deployments[1]["model_info"]
    model_list = effective_config(make_config({"model_list": deployments}))["model_list"]
    assert [entry.get("model_info") for entry in model_list[:2]] == [given, {"allowed_fails_policy": ALLOWED_FAILS}]


def test_the_operators_word_on_access_wins(make_config: MakeConfig) -> None:
    given = {"general_settings": {"enforce_fallback_model_access": False}}
    assert effective_config(make_config(given))["general_settings"] == {"enforce_fallback_model_access": False}


@pytest.mark.parametrize("section", ["litellm_settings", "router_settings"])
def test_sections_that_are_there_and_empty(make_config: MakeConfig, section: str) -> None:
    assert effective_config(make_config({section: None})) == effective_config(make_config())
    empty = {"router_settings": {"model_group_alias": None}}
    assert effective_config(make_config(empty)) == effective_config(make_config())


def test_own_tier_then_up_then_down(make_config: MakeConfig) -> None:
    tiers = {
        "high": {"score_range": [60, 100], "models": ["large", "middle"]},
        "low": {"score_range": [0, 29], "models": ["small", "vendor/a"]},
        "mid": {"score_range": [30, 59], "models": ["middle", "vendor/b"]},
    }
    given = {"model_list": [*deployments("small", "middle", "large"), *deployments("vendor/a", "vendor/b")]}
    router = router_of(make_config, given, tiers=tiers, fallback_tier="mid")
    assert router["fallbacks"] == [
        {"small": ["vendor/a", "middle", "vendor/b", "large"]},
        {"vendor/a": ["small", "middle", "vendor/b", "large"]},
        {"middle": ["vendor/b", "large", "small", "vendor/a"]},  # as in the lowest tier that has it
        {"vendor/b": ["middle", "large", "small", "vendor/a"]},
        {"large": ["middle", "vendor/b", "small", "vendor/a"]},
    ]
    assert router["context_window_fallbacks"] == router["fallbacks"]  # no window is known


def deployments(*names: str) -> list[dict[str, Any]]:
    return [{"model_name": name, "litellm_params": {"model": f"hosted_vllm/{name}"}} for name in names]


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ((8_000, 8_000, 8_000), []),
        ((9_000, 8_000, 7_000), [{"middle": ["small"]}, {"large": ["middle", "small"]}]),
        ((None, 8_000, None), [
            {"small": ["middle", "large"]}, {"middle": ["large", "small"]}, {"large": ["middle", "small"]}
        ]),
        ((8_000, None, 100), [
            {"small": ["middle"]}, {"middle": ["large", "small"]}, {"large": ["middle", "small"]}
        ]),
    ],
)  # fmt: skip
def test_a_request_that_is_too_long_goes_to_larger_windows_only(
    make_config: MakeConfig, windows: tuple[int | None, ...], expected: list[dict[str, list[str]]]
) -> None:
    model_list = deployments("small", "middle", "large")
    for entry, window in zip(model_list, windows, strict=True):
        entry["model_info"] = {"max_input_tokens": window}
    assert router_of(make_config, {"model_list": model_list})["context_window_fallbacks"] == expected


def test_a_single_model_has_nowhere_to_fall_back_to(make_config: MakeConfig) -> None:
    effective = effective_config(
        make_config(tiers={"only": {"score_range": [0, 100], "model": "small"}}, fallback_tier="only")
    )
    assert effective["router_settings"]["fallbacks"] == []
    # Nor does it cool down: nobody would be left to answer.
    assert all(policy_of(entry) is None for entry in effective["model_list"])


def test_aliases_of_aliases_stand_for_their_end(make_config: MakeConfig) -> None:
    aliases = {"a": "b", "b": "c", "c": "large", "d": "e", "e": "auto_route"}
    assert router_of(make_config, aliases=aliases)["model_group_alias"] == {
        "a": "large", "b": "large", "c": "large", "d": "middle", "e": "middle"
    }  # fmt: skip


def test_references_stay_references(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "the secret")
    effective = effective_config(make_config({"general_settings": {"master_key": "os.environ/SOME_KEY"}}))
    assert effective["general_settings"]["master_key"] == "os.environ/SOME_KEY"
    assert "the secret" not in str(effective)
