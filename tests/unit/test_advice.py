"""`advice.py`: what is no mistake but probably not meant, each with its line and what to write instead."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from bsgateway import catalog
from bsgateway.catalog import CAPABILITIES, Model
from bsgateway.check import Problem, check_file, check_text, load_config
from bsgateway.errors import ConfigError

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "gateway.yaml"
FILE = Path("gateway.yaml")

# Line numbers of the tests below count from this text's first line.
GOOD = textwrap.dedent("""\
    model_list:
      - model_name: small
        litellm_params: {model: openai/gpt-5-nano}
      - model_name: large
        litellm_params: {model: openai/gpt-5}
      - model_name: aside
        litellm_params: {model: ollama_chat/nobody-knows}
    routing:
      tiers:
        easy: {score_range: [0, 50], model: small}
        hard: {score_range: [51, 100], model: large}
      fallback_tier: hard
      unknown_models: leave
      auto_route_patterns: [large, "vendor/*"]
    """)
ALL = dict.fromkeys(CAPABILITIES.values(), False)


def advised(text: str) -> list[Problem]:
    config, problems = check_text(text, FILE, advised=True)
    assert (config is None) == any(problem.severity == "error" for problem in problems)
    return problems


def changed(old: str, new: str) -> list[Problem]:
    assert GOOD.count(old) == 1
    return advised(GOOD.replace(old, new))


def written(problem: Problem) -> dict[str, Any]:
    """The YAML that a problem proposes to add."""
    _, _, proposal = problem.hint.partition("model_info: ")
    found = yaml.safe_load(proposal)
    assert isinstance(found, dict)
    return found


def test_nothing_to_say_of_models_that_litellm_knows_or_that_serve_no_tier() -> None:
    assert advised(GOOD) == []


def test_nothing_to_say_of_the_reference_configuration() -> None:
    config, problems = check_file(REFERENCE, advised=True)
    assert problems == []
    assert config is not None
    local = catalog.models(config.host["model_list"])["local/glm-4.7-flash"]
    assert local.supports == {"tools", "parallel_tools", "json_schema", "reasoning"}
    assert (local.unknown, local.max_input_tokens, local.price.input) == (frozenset(), 32_768, 0.0)
    (entry,) = (each for each in config.host["model_list"] if each["model_name"] == local.name)
    assert entry["litellm_params"]["num_ctx"] == local.max_input_tokens  # what Ollama is told


def test_a_judge_in_its_own_cause() -> None:
    text = GOOD + "  learning:\n    dual_run: 1%\n    judge: {method: llm, model: large}\n"
    (problem,) = advised(text)
    assert (problem.line, problem.path, problem.severity) == (17, "routing.learning.judge.model", "warning")
    assert problem.message == "'large' judges answers of its own: models favour them"
    assert problem.hint == "name a model that serves no tier"
    assert advised(text.replace("llm, model: large}", "llm, model: aside}")) == []
    assert advised(text.replace("dual_run: 1%", "dual_run: 0%")) == []
    assert advised(text.replace("method: llm", "method: embedding")) == []


def test_learning_in_shadow_mode() -> None:
    text = GOOD + "  mode: shadow\n  learning: {explore: 5%, dual_run: 0%}\n"
    (problem,) = [found for found in advised(text) if "learning" in found.path]
    assert (problem.path, problem.message) == ("routing.learning.explore", "has no effect in shadow mode")


def llm(settings: str, text: str = GOOD) -> list[Problem]:
    """What is said of the strategy llm with these settings."""
    found = advised(f"{text}  classifier: {{strategy: llm, llm: {{{settings}}}}}\n")
    assert all(problem.severity == "warning" for problem in found)
    return found


def test_nothing_to_say_of_a_small_local_llm() -> None:
    assert llm("model: tiny, timeout: 0.5") == []
    assert llm("model: tiny, timeout: 1, when: uncertain, margin: 10, min_confidence: 0.7") == []
    assert llm("model: aside, timeout: 0.5") == []  # in model_list, but in no tier


def test_a_local_llm_that_may_be_waited_for() -> None:
    for settings in ("model: tiny", "model: tiny, timeout: 3"):
        (problem,) = llm(settings)
        assert (problem.line, problem.path) == (15, "routing.classifier.llm.timeout")
        assert problem.message == "a request waits up to 3 s for a server that hangs or is busy"
        assert problem.hint.startswith("0.5 is enough for a small model")
    # Nobody waits for it under another strategy.
    assert advised(f"{GOOD}  classifier: {{strategy: static, llm: {{model: tiny}}}}\n") == []


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        ("{model: ollama_chat/tiny}", "model: tiny"),
        ("{model: ollama/tiny:latest}", "model: ollama_chat/tiny"),
        ("{model: ollama_chat/tiny}", "model: small"),
        ("{model: ollama_chat/tiny, api_base: http://127.0.0.1:11434/}", "model: tiny"),
        ("{model: ollama_chat/tiny, api_base: http://gpu:1}", "model: tiny, api_base: http://gpu:1/"),
    ],
)
def test_a_local_llm_that_serves_a_tier_as_well(served: str, asked: str) -> None:
    text = GOOD.replace("{model: openai/gpt-5-nano}", served)
    (problem,) = [found for found in llm(f"timeout: 0.5, {asked}", text) if "classifier" in found.path]
    assert (problem.line, problem.path) == (15, "routing.classifier.llm.model")
    assert problem.message.endswith(
        "serves 'small' as well: verdicts wait while it writes answers, or is loaded with another num_ctx"
    )


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        ("{model: ollama_chat/tiny:1b}", "model: tiny"),
        ("{model: ollama_chat/tiny}", "model: tiny, api_base: http://gpu:11434"),
        ("{model: openai/tiny}", "model: tiny"),
    ],
)
def test_another_model_or_server_is_not_in_the_way(served: str, asked: str) -> None:
    text = GOOD.replace("{model: openai/gpt-5-nano}", served)
    assert [found for found in llm(f"timeout: 0.5, {asked}", text) if "classifier" in found.path] == []


@pytest.mark.parametrize("model", ["gpt-oss:120b-cloud", "ollama_chat/glm-4.6:cloud"])
def test_a_local_llm_that_is_not_local(model: str) -> None:
    (problem,) = llm(f"timeout: 0.5, model: '{model}'")
    assert problem.path == "routing.classifier.llm.model"
    assert "leaves this network" in problem.message
    assert llm("timeout: 0.5, model: cloudy") == []


def test_settings_of_uncertainty_where_it_is_always_asked() -> None:
    problems = llm("model: tiny, timeout: 0.5, margin: 10, min_confidence: 0.9")
    assert [problem.path for problem in problems] == [
        "routing.classifier.llm.margin",
        "routing.classifier.llm.min_confidence",
    ]
    assert {problem.message for problem in problems} == {"has no effect: llm.when is always"}


def test_a_local_llm_with_nothing_to_decide() -> None:
    text = GOOD.replace("[0, 50]", "[0, 100]").replace("    hard: {score_range: [51, 100], model: large}\n", "")
    (problem,) = llm("model: tiny", text.replace("fallback_tier: hard", "fallback_tier: easy"))
    assert (problem.line, problem.message) == (14, "is never asked: there is only one tier")


def test_what_nobody_knows_of_a_model() -> None:
    (problem,) = changed("{model: openai/gpt-5-nano}", "{model: ollama_chat/mine}")
    assert (problem.line, problem.path, problem.severity) == (2, "model_list[0].model_info", "warning")
    assert problem.message == (
        "'small': nobody knows whether it can serve vision, audio, file, tools, parallel_tools, json_schema, "
        "reasoning, prompt_cache, web_search, which counts as no; "
        "nobody knows its context window, which counts as endless"
    )
    assert problem.hint.startswith("add to it what is true of it: model_info: { supports_vision: false, ")
    assert written(problem) == {**ALL, "max_input_tokens": 32_768}


def test_what_is_proposed_ends_the_warning_and_changes_no_decision() -> None:
    text = GOOD.replace("{model: openai/gpt-5-nano}", "{model: ollama_chat/mine}")
    (problem,) = advised(text)
    mended = text.replace("ollama_chat/mine}", f"ollama_chat/mine}}\n    model_info: {yaml.safe_dump(written(problem), default_flow_style=True, width=10_000)}")  # fmt: skip  # noqa: E501
    assert advised(mended) == []

    def small(source: str) -> Model:
        return catalog.models(yaml.safe_load(source)["model_list"])["small"]

    assert small(mended).supports == small(text).supports
    assert small(mended).max_input_tokens == 32_768


def test_only_what_is_left_open_is_asked_for() -> None:
    info = {**ALL, "supports_vision": True, "max_input_tokens": 8_000}
    del info["supports_function_calling"]
    model = f"{{model: openai/mine}}\n    model_info: {info}"
    (problem,) = changed("{model: openai/gpt-5-nano}", model.replace("True", "true").replace("False", "false"))
    assert problem.line == 4  # where it is to be added
    assert problem.message == "'small': nobody knows whether it can serve tools, which counts as no"
    assert problem.hint == "add to its model_info what is true of it: model_info: { supports_function_calling: false }"


def test_each_deployment_of_a_group_is_looked_at() -> None:
    twin = "{model: openai/gpt-5-nano}\n  - model_name: small\n    litellm_params: {model: ollama_chat/mine}"
    (problem,) = changed("{model: openai/gpt-5-nano}", twin)
    assert (problem.line, problem.path) == (4, "model_list[1].model_info")


def test_a_model_without_a_price_among_others() -> None:
    known = ", ".join(f"{key}: false" for key in [*ALL]) + ", max_input_tokens: 8000"
    unpriced = GOOD.replace("{model: openai/gpt-5-nano}", f"{{model: openai/mine}}\n    model_info: {{{known}}}")
    assert advised(unpriced) == []  # alone in its tier it is the cheapest anyway
    (problem,) = advised(unpriced.replace("model: large}", "models: [large, small]}"))
    assert (problem.line, problem.path) == (4, "model_list[0].model_info")
    assert problem.message == "'small': nobody knows its price, so in tier 'hard' it counts as the dearest"
    assert set(written(problem)) == {"input_cost_per_token", "output_cost_per_token"}
    # A local model is free, if nobody says otherwise.
    free = unpriced.replace("openai/mine", "ollama_chat/mine").replace("model: large}", "models: [large, small]}")
    assert advised(free) == []


def test_a_model_whose_provider_litellm_does_not_know() -> None:
    problems = changed("{model: openai/gpt-5-nano}", "{model: gpt-nobody}")
    assert problems == [
        Problem(
            3,
            "model_list[0].litellm_params.model",
            "LiteLLM knows no provider for 'gpt-nobody'",
            "write it as provider/model, for example openai/gpt-5-mini",
        )
    ]


@pytest.mark.parametrize(("option", "path"), [("mode: shadow", "mode"), ("canary: 10%", "canary")])
def test_names_that_nobody_serves_where_requests_are_not_rewritten(option: str, path: str) -> None:
    (problem,) = advised(f"{GOOD}  {option}\n")
    assert (problem.line, problem.path, problem.severity) == (15, f"routing.{path}", "warning")
    # `large` is in model_list.
    assert problem.message.endswith("where only a pattern knows their name: vendor/*")
    assert "`model_name: 'vendor/*'`" in problem.hint


def test_names_that_litellm_serves_where_requests_are_not_rewritten() -> None:
    wild = "  - model_name: vendor/*\n    litellm_params: {model: openai/*}\nrouting:\n"
    assert changed("routing:\n", f"{wild}  mode: shadow\n") == []


def test_unknown_names_where_requests_are_not_rewritten() -> None:
    auto = GOOD.replace("unknown_models: leave", "canary: 5%").replace('large, "vendor/*"', "")
    (problem,) = advised(auto)
    assert (problem.line, problem.path) == (13, "routing.canary")
    assert problem.hint == "set unknown_models: leave, until every request is rewritten"
    any_name = auto.replace("routing:\n", "  - model_name: '*'\n    litellm_params: {model: openai/*}\nrouting:\n")
    assert advised(any_name) == []
    assert advised(auto.replace("canary: 5%", "canary: 100%")) == []


def test_a_canary_in_shadow_mode() -> None:
    (problem,) = changed('auto_route_patterns: [large, "vendor/*"]', "mode: shadow\n  canary: 10%")
    assert (problem.line, problem.path, problem.message) == (15, "routing.canary", "has no effect in shadow mode")


def test_a_file_with_mistakes_is_not_advised_on() -> None:
    problems = changed("fallback_tier: hard", "fallback_tier: nowhere\n  mode: shadow")
    assert [(problem.path, problem.severity) for problem in problems] == [("routing.fallback_tier", "error")]


def test_warnings_do_not_keep_a_file_from_being_loaded(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(f"{GOOD}  mode: shadow\n")
    said: list[str] = []
    assert load_config(path, said.append).routing.mode == "shadow"
    (warning,) = said
    assert warning.startswith(f"{path}:15: warning: routing.mode: requests that are not rewritten go to ")
    path.write_text(path.read_text().replace("openai/gpt-5-nano", "gpt-nobody"))
    assert load_config(path).routing.mode == "shadow"
    with pytest.raises(ConfigError, match="knows no provider for 'gpt-nobody'"):
        load_config(path, said.append)


@pytest.mark.parametrize("path", ["gateway.yaml", "missing.yaml"])
def test_litellm_is_not_imported_where_it_is_not_asked(path: str) -> None:
    script = (
        "import sys; from pathlib import Path; from bsgateway.check import check_file; "
        f"check_file(Path({path!r})); print('litellm' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
