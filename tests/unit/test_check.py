"""`check.py`: every mistake at once, with its line, its path and a hint; and no text that makes it raise."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
import yaml

from bsgateway.check import Problem, check_file, check_text, load_config
from bsgateway.config import Config
from bsgateway.errors import ConfigError, GatewayError

REFERENCE = (Path(__file__).parents[2] / "gateway.yaml").read_text(encoding="utf-8")
FILE = Path("gateway.yaml")

# Line numbers of the tests below count from this text's first line.
GOOD = textwrap.dedent("""\
    model_list:
      - model_name: small
        litellm_params: {model: openai/gpt-5-nano}
      - model_name: large
        litellm_params: {model: openai/gpt-5}
    routing:
      tiers:
        easy: {score_range: [0, 50], model: small}
        hard: {score_range: [51, 100], model: large}
      fallback_tier: hard
      aliases:
        auto: auto_route
        big: large
    """)


def check(text: str) -> tuple[Config | None, list[Problem]]:
    return check_text(text, FILE)


def problems(text: str) -> list[tuple[int, str, str, str]]:
    config, found = check(text)
    assert (config is None) == bool(found)
    return [(problem.line, problem.path, problem.message, problem.hint) for problem in found]


def changed(old: str, new: str) -> list[tuple[int, str, str, str]]:
    """The mistakes of GOOD after one change."""
    assert GOOD.count(old) == 1
    return problems(GOOD.replace(old, new))


def added(text: str) -> list[tuple[int, str, str, str]]:
    """The mistakes of GOOD with more lines in `routing`: the first is line 14."""
    return problems(GOOD + textwrap.indent(textwrap.dedent(text), "  "))


def test_a_good_file() -> None:
    config, found = check(GOOD)
    assert found == []
    assert config is not None
    assert config.path == FILE
    assert config.model_names == ("small", "large")
    assert config.host == yaml.safe_load(GOOD)
    assert config.routing.tiers["hard"].score_range == (51, 100)


def test_what_is_litellms_is_left_alone() -> None:
    config, found = check(GOOD + "litellm_settings: {any: {thing: [1, null]}}\nanother_section: {1: [x]}\n")
    assert found == []
    assert config is not None
    assert config.host["another_section"] == {1: ["x"]}


ONE_MISTAKE: dict[str, tuple[str, str, int, str, str, str]] = {
    # old, new, line, path, message, hint
    "unknown key of routing": (
        "fallback_tier: hard", "fallback_tier: hard\n  fallbacktier: x", 11, "routing.fallbacktier",
        "unknown key", "did you mean 'fallback_tier'?",
    ),
    "unknown key of a tier": (
        "model: large}", "model: large, modle: small}", 9, "routing.tiers.hard.modle",
        "unknown key", "did you mean 'model'?",
    ),
    "unknown key that is like no other": (
        "model: large}", "model: large, zzz: 1}", 9, "routing.tiers.hard.zzz",
        "unknown key", "known: score_range, model, models, description",
    ),
    "missing key": (
        "  fallback_tier: hard\n", "", 6, "routing", "`fallback_tier` is missing", "add `fallback_tier:`",
    ),
    "missing range": (
        "{score_range: [51, 100], model: large}", "{model: large}", 9, "routing.tiers.hard",
        "`score_range` is missing", "add `score_range:`",
    ),
    "a hole": (
        "[51, 100]", "[53, 100]", 9, "routing.tiers.hard.score_range",
        "leaves scores 51-52 without a tier", "begin it at 51",
    ),
    "a hole of one score": (
        "[51, 100]", "[52, 100]", 9, "routing.tiers.hard.score_range",
        "leaves scores 51-51 without a tier", "begin it at 51",
    ),
    "an overlap": (
        "[51, 100]", "[50, 100]", 9, "routing.tiers.hard.score_range",
        "[50, 100] overlaps tier 'easy', which ends at 50", "begin at 51",
    ),
    "a tier inside another": (
        "[0, 50]", "[0, 100]", 9, "routing.tiers.hard.score_range",
        "[51, 100] overlaps tier 'easy', which ends at 100", "begin at 101",
    ),
    "nothing at the bottom": (
        "[0, 50]", "[2, 50]", 8, "routing.tiers.easy.score_range",
        "leaves scores 0-1 without a tier", "begin it at 0",
    ),
    "nothing at the top": (
        "[51, 100]", "[51, 98]", 7, "routing.tiers",
        "leave scores 99-100 without a tier", "end the highest tier at 100",
    ),
    "a score over 100": (
        "[51, 100]", "[51, 101]", 9, "routing.tiers.hard.score_range[1]", "must be at most 100", "",
    ),
    "a score that is a fraction": (
        "[51, 100]", "[51, 100.0]", 9, "routing.tiers.hard.score_range[1]", "must be integer, not number", "",
    ),
    "a score that is a truth value": (
        "[51, 100]", "[51, true]", 9, "routing.tiers.hard.score_range[1]", "must be integer, not boolean", "",
    ),
    "a range of three": (
        "[51, 100]", "[51, 70, 100]", 9, "routing.tiers.hard.score_range", "takes at most 2 item(s)", "",
    ),
    "what is known of a model is no object": (
        "{model: openai/gpt-5}", "{model: openai/gpt-5}\n    model_info: yes", 6, "model_list[1].model_info",
        "must be an object", "for example `model_info: { supports_vision: false }`",
    ),
    "a model that is not there": (
        "model: large}", "model: lagre}", 9, "routing.tiers.hard.model",
        "'lagre' is not in model_list", "did you mean 'large'?",
    ),
    "one of several models that is not there": (
        "model: large}", "models: [large, lagre]}", 9, "routing.tiers.hard.models[1]",
        "'lagre' is not in model_list", "did you mean 'large'?",
    ),
    "no model": (
        "[51, 100], model: large}", "[51, 100]}", 9, "routing.tiers.hard",
        "needs either `model` or `models`, and not both", "give the model_list name that serves it",
    ),
    "model and models": (
        "model: large}", "model: large, models: [large]}", 9, "routing.tiers.hard",
        "needs either `model` or `models`, and not both", "give the model_list name that serves it",
    ),
    "a model of a wrong type": (
        "model: large}", "model: 5}", 9, "routing.tiers.hard.model", "must be string or null, not integer", "",
    ),
    "a fallback that is no tier": (
        "fallback_tier: hard", "fallback_tier: hrad", 10, "routing.fallback_tier",
        "'hrad' is not a tier", "did you mean 'hard'?",
    ),
    "an alias to nowhere": (
        "big: large", "big: lagre", 13, "routing.aliases.big",
        "'lagre' is neither in model_list nor an alias nor auto_route", "did you mean 'large'?",
    ),
    "an alias to itself": (
        "big: large", "big: big", 13, "routing.aliases.big", "is a cycle: big -> big", "let one of them name a model",
    ),
    "an alias of a wrong type": (
        "big: large", "big: 5", 13, "routing.aliases.big", "must be string or object, not integer", "",
    ),
    "an alias with another route": (
        "big: large", "big: {route: large}", 13, "routing.aliases.big.route", "must be one of auto_route", "",
    ),
    "an alias without a route": (
        "big: large", "big: {bias: 5}", 13, "routing.aliases.big", "`route` is missing", "add `route:`",
    ),
    "a bias that is too strong": (
        "big: large", "big: {route: auto_route, bias: 101}", 13, "routing.aliases.big.bias",
        "must be at most 100", "",
    ),
    "an alias that hides nothing": (
        "big: large", "small: large", 13, "routing.aliases.small",
        "never used: model_list has that name, and it comes first", "remove one of the two",
    ),
    "the word for routing as an alias": (
        "big: large", "auto_route: large", 13, "routing.aliases.auto_route",
        "'auto_route' is the word for routing by score", "choose another name",
    ),
    "an empty name": ("big: large", "'': large", 13, "routing.aliases.", "must not be empty", ""),
    "a key that is no text": (
        "big: large", "7: large", 13, "routing.aliases.7", "key must be text", "put it in quotes",
    ),
    "a tier's name that is no text": (
        "easy: {", "1: {", 8, "routing.tiers.1", "key must be text", "put it in quotes",
    ),
    "a key given twice": (
        "big: large", "big: large\n    auto: big", 14, "routing.aliases.auto", "key given twice", "keep one of them",
    ),
    "a model without a name": (
        "model_name: large", "name: large", 4, "model_list[1].model_name",
        "must be a non-empty string", "name the model clients ask for",
    ),
    "a deployment without a model": (
        "{model: openai/gpt-5}", "{}", 5, "model_list[1].litellm_params", "needs a `model`",
        "for example `model: openai/gpt-5-mini`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_MISTAKE)
def test_one_mistake(name: str) -> None:
    old, new, *expected = ONE_MISTAKE[name]
    found = changed(old, new)
    # Without its name the second model is also missing to the two that speak of it.
    assert found[0] == tuple(expected)
    assert len(found) == (3 if name == "a model without a name" else 1)


IN_ROUTING: dict[str, tuple[str, int, str, str, str]] = {
    # more lines of `routing`, line, path, message, hint
    "a glob that is never closed": (
        "auto_route_patterns: [a*, '[b']", 14, "routing.auto_route_patterns[1]",
        "pattern \"[b\": '[' at position 1 is never closed", "use *, ?, [seq] or [!seq]",
    ),
    "a glob whose range runs backwards": (
        "auto_route_patterns:\n- '[z-a]'", 15, "routing.auto_route_patterns[0]",
        "pattern \"[z-a]\": range 'z-a' runs backwards", "use *, ?, [seq] or [!seq]",
    ),
    "a glob given twice": (
        "auto_route_patterns: [a*, b, a*]", 14, "routing.auto_route_patterns[2]", "'a*' is given twice",
        "keep one of them",
    ),
    "a need given twice": (
        "required_needs: [vision, vision]", 14, "routing.required_needs[1]", "'vision' is given twice",
        "keep one of them",
    ),
    "a need that is not there": (
        "required_needs: [video]", 14, "routing.required_needs[0]",
        "must be one of audio, file, json_schema, parallel_tools, prompt_cache, reasoning, server_tools, tools, "
        "vision, web_search", "",
    ),
    "an override given twice": (
        "client_overrides: [tier, bias, tier]", 14, "routing.client_overrides[2]", "'tier' is given twice",
        "keep one of them",
    ),
    "an override that is not there": (
        "client_overrides: [model]", 14, "routing.client_overrides[0]",
        "must be one of bias, dry_run, max_tier, min_tier, tier", "",
    ),
    "a mode that is not there": ("mode: dry", 14, "routing.mode", "must be one of route, shadow", ""),
    "more than all": (
        "canary: 101%", 14, "routing.canary", "must be a share such as 10%, of 100% at most", "",
    ),
    "a share without its sign": ("canary: 10", 14, "routing.canary", "must be string, not integer", ""),
    "a share of something else": (
        "canary: ten%", 14, "routing.canary", "must be a share such as 10%, of 100% at most", "",
    ),
    "a bias that is too large": ("bias: 101", 14, "routing.bias", "must be at most 100", ""),
    "a session that never ends": (
        "session: {ttl_seconds: 0}", 14, "routing.session.ttl_seconds", "must be at least 1", "",
    ),
    "a negative weight": (
        "classifier:\n  static:\n    weights: {token_count: -0.1}", 16,
        "routing.classifier.static.weights.token_count", "must be at least 0", "",
    ),
    "a weight that is no number": (
        "classifier: {static: {weights: {token_count: .nan}}}", 14,
        "routing.classifier.static.weights.token_count", "must be number, not nan", "",
    ),
    "an infinite weight": (
        "classifier: {static: {weights: {token_count: .inf}}}", 14,
        "routing.classifier.static.weights.token_count", "must be number, not inf", "",
    ),
    "weights that are all zero": (
        "classifier: {static: {weights: {token_count: 0, system_prompt: 0, keyword_patterns: 0, "
        "conversation_length: 0, code_complexity: 0, tool_usage: 0.0}}}",
        14, "routing.classifier.static.weights", "are all zero",
        "give at least one signal a weight",
    ),
    "a weight of a signal that is not there": (
        "classifier: {static: {weights: {tokens_count: 1}}}", 14, "routing.classifier.static.weights.tokens_count",
        "unknown key", "did you mean 'token_count'?",
    ),
    "thresholds that do not ascend": (
        "classifier: {static: {token_thresholds: [1, 2, 2, 4, 5]}}", 14, "routing.classifier.static.token_thresholds",
        "must be ascending", "for example [20, 100, 400, 1500, 6000]",
    ),
    "a threshold of nothing": (
        "classifier: {static: {token_thresholds: [0, 1, 2, 3, 4]}}", 14,
        "routing.classifier.static.token_thresholds[0]", "must be at least 1", "",
    ),
    "too few thresholds": (
        "classifier: {static: {token_thresholds: [1, 2, 3, 4]}}", 14, "routing.classifier.static.token_thresholds",
        "needs at least 5 item(s)", "",
    ),
    "a keyword with a space at its end": (
        "classifier: {static: {simple_keywords: [a, 'b ']}}", 14, "routing.classifier.static.simple_keywords[1]",
        'keyword "b ": keyword begins or ends with a space', "trim or remove it",
    ),
    "a keyword of nothing but a star": (
        "classifier: {static: {complex_keywords: ['*']}}", 14, "routing.classifier.static.complex_keywords[0]",
        'keyword "*": empty keyword', "trim or remove it",
    ),
    "a keyword that the core finds too long": (
        f"classifier: {{static: {{complex_keywords: [{'k' * 129}]}}}}", 14,
        "routing.classifier.static.complex_keywords[0]",
        f'keyword "{"k" * 129}": keyword longer than 128 characters', "trim or remove it",
    ),
    "a strategy that is not there": (
        "classifier: {strategy: magic}", 14, "routing.classifier.strategy", "must be one of llm, ml, static", "",
    ),
    "an option that is neither": (
        "unknown_models: refuse", 14, "routing.unknown_models", "must be one of auto, leave", "",
    ),
    "a queue without room": (
        "collector: {queue_rows: 0}", 14, "routing.collector.queue_rows", "must be at least 1", "",
    ),
    "a batch that never ages": (
        "collector: {flush_seconds: 0}", 14, "routing.collector.flush_seconds", "must be more than 0", "",
    ),
    "a number as text": (
        "collector:\n  enabled: 'yes'", 15, "routing.collector.enabled", "must be boolean, not string", "",
    ),
    "a section that is a list": ("collector: []", 14, "routing.collector", "must be object, not array", ""),
    "a date": (
        "collector: {text: 2020-01-01}", 14, "routing.collector.text", "must be one of full, none, redacted", "",
    ),
    "a database address of a wrong type": (
        "collector: {database_url: 5432}", 14, "routing.collector.database_url",
        "must be string or null, not integer", "",
    ),
    "embeddings of nothing": (
        "collector:\n  text: none\n  embedding: {model: nomic-embed-text}", 16, "routing.collector.embedding",
        "has nothing to embed: collector.text is none", "set collector.text to redacted, or remove embedding",
    ),
    "an embedding without a model": (
        "collector: {embedding: {}}", 14, "routing.collector.embedding", "`model` is missing", "add `model:`",
    ),
    "texts that outlive their rows": (
        "collector:\n  retention_days: 7\n  text_retention_days: 8", 16, "routing.collector.text_retention_days",
        "8 is longer than retention_days, which is 7: texts go with their rows", "7 at most, or null",
    ),
    "a database that is no PostgreSQL": (
        "collector: {database_url: 'mysql://u:p@h/d'}", 14, "routing.collector.database_url",
        "is not the URL of a PostgreSQL",
        "write postgresql://user:password@host:port/database, with %2F for a slash in the password",
    ),
    "a server without a scheme": (
        "collector:\n  embedding: {model: m, api_base: '127.0.0.1:11434'}", 15, "routing.collector.embedding.api_base",
        "is not the URL of a server", "for example http://127.0.0.1:11434",
    ),
    "a server with a strange port": (
        "collector:\n  embedding: {model: m, api_base: 'http://h:x'}", 15, "routing.collector.embedding.api_base",
        "is not the URL of a server", "for example http://127.0.0.1:11434",
    ),
    "a server with a password": (
        "classifier: {llm: {model: m, api_base: 'http://u:p@h:1'}}", 14, "routing.classifier.llm.api_base",
        "has a user or a password, which Ollama's client does not send",
        "leave them out; OLLAMA_API_KEY in the environment is sent as a bearer token",
    ),
    "a spool in a file": (
        "collector:\n  spool: {directory: /dev/null}", 15, "routing.collector.spool.directory",
        "is not a directory", "name another, or remove the file that is there",
    ),
    "a spool below a file": (
        "collector:\n  spool: {directory: /dev/null/spool}", 15, "routing.collector.spool.directory",
        "is not a directory", "name another, or remove the file that is there",
    ),
    "a spool with a zero byte": (
        'collector:\n  spool: {directory: "~a\\0b"}', 15, "routing.collector.spool.directory",
        "is not a path", "name a directory on a local disk",
    ),
    "a spool that is switched off": (
        "collector:\n  spool: false", 15, "routing.collector.spool", "must be object, not boolean",
        "write { enabled: false }",
    ),
    "a local LLM kept for a number without a unit": (
        'classifier:\n  llm: {model: tiny, keep_alive: "30"}', 15, "routing.classifier.llm.keep_alive",
        "must be a whole number of s, m or h, such as 30m", "",
    ),
    "a local LLM that is a prefix only": (
        "classifier:\n  llm: {model: ollama_chat/}", 15, "routing.classifier.llm.model",
        "'ollama_chat/' names no model", "give the name of a small model in Ollama",
    ),
    "a judge that does not say who": (
        "learning:\n  judge: {method: llm}", 15, "routing.learning.judge.model", "is needed by the method 'llm'",
        "give the model_list name of the model that judges",
    ),
    "a judge that is not there": (
        "learning:\n  judge: {method: embedding, model: lrge}", 15, "routing.learning.judge.model",
        "'lrge' is not in model_list", "did you mean 'large'?",
    ),
    "dual runs without a log": (
        "collector: {enabled: false}\nlearning:\n  dual_run: 1%", 16, "routing.learning.dual_run",
        "has nowhere to put what it finds: collector.enabled is false", "set collector.enabled to true, or remove this",
    ),
    "a section that has no switch": (
        "collector:\n  embedding: false", 15, "routing.collector.embedding", "must be object or null, not boolean", "",
    ),
}  # fmt: skip


# Each is the whole of `collector`.
GOOD_COLLECTORS = (
    "{text: full, embedding: {model: m}}",
    "{embedding: {model: m, api_base: 'http://127.0.0.1:11434', batch_rows: 8, timeout_seconds: 0.5}}",
    "{text: none, embedding: null}",
    "{retention_days: 7, text_retention_days: 7}",
    "{retention_days: 7, text_retention_days: null}",
    "{retention_days: 7}",  # the default of text_retention_days is longer, and nobody wrote it down
    "{text_retention_days: 4000}",
    "{database_url: 'postgres://u:p%2Fq@h:1,g:2/d?sslmode=require', spool: {directory: /nowhere/yet}}",
    "{database_url: 'postgresql:///log?host=/run/postgresql', spool: {directory: /tmp}}",
    "{enabled: false, database_url: 'sqlite:///x'}",  # never used
    "{embedding: {model: m, api_base: 'https://[::1]:1/ollama'}}",
)


@pytest.mark.parametrize("collector", GOOD_COLLECTORS)
def test_a_good_collector(collector: str) -> None:
    assert added(f"collector: {collector}") == []


@pytest.mark.parametrize("name", IN_ROUTING)
def test_one_mistake_in_more_lines_of_routing(name: str) -> None:
    text, *expected = IN_ROUTING[name]
    assert added(text) == [tuple(expected)]


def test_learning_with_one_tier() -> None:
    text = GOOD.replace("    easy: {score_range: [0, 50], model: small}\n", "").replace("[51, 100]", "[0, 100]")
    assert problems(text) == []
    text += "  learning: {explore: 5%, dual_run: 0.0%}\n"
    assert [(found[1], found[2]) for found in problems(text)] == [
        ("routing.learning.explore", "has nothing to compare: there is only one tier")
    ]
    found = problems(text.replace("0.0%", "0.1%"))
    assert [path for _, path, _, _ in found] == ["routing.learning.dual_run", "routing.learning.explore"]


@pytest.mark.parametrize(
    "learning",
    [
        "{explore: 5%, dual_run: 1%, dual_run_usd_per_day: 0}",
        "{dual_run: 1%, judge: {method: llm, model: large}}",
        "{judge: {method: match}}",
        "{}",
    ],
)
def test_good_learning(learning: str) -> None:
    assert added(f"learning: {learning}") == []


@pytest.mark.parametrize("score_range", ["[50, 0]", "[100, 51]"])
def test_a_range_that_runs_backwards(score_range: str) -> None:
    old = "[0, 50]" if score_range == "[50, 0]" else "[51, 100]"
    low, high = json.loads(score_range)
    found = changed(old, score_range)
    line = 8 if old == "[0, 50]" else 9
    tier = "easy" if line == 8 else "hard"
    expected = (f"routing.tiers.{tier}.score_range", f"[{low}, {high}] runs backwards", f"write [{high}, {low}]")
    assert (line, *expected) in found


def test_a_tier_inside_another_leaves_no_hole_behind_it() -> None:
    inner = "hard: {score_range: [51, 100], model: large}\n    inner: {score_range: [10, 20], model: small}"
    assert changed("hard: {score_range: [51, 100], model: large}", inner) == [
        (
            10,
            "routing.tiers.inner.score_range",
            "[10, 20] overlaps tier 'easy', which ends at 50",
            "begin at 51",
        )
    ]


@pytest.mark.parametrize("cycle", [("a", "b"), ("a", "b", "c")])
def test_an_alias_cycle_is_the_mistake_of_its_members_only(cycle: tuple[str, ...]) -> None:
    links = [f"{name}: {target}" for name, target in zip(cycle, (*cycle[1:], cycle[0]), strict=True)]
    text = GOOD.replace("big: large", "\n    ".join([*links, "into: a"]))
    found = problems(text)
    assert [path for _, path, _, _ in found] == [f"routing.aliases.{name}" for name in cycle]
    assert found[0][2] == f"is a cycle: {' -> '.join((*cycle, 'a'))}"


@pytest.mark.parametrize(
    ("limits", "path", "message", "hint"),
    [
        ("min_tier: eazy", "min_tier", "'eazy' is not a tier", "did you mean 'easy'?"),
        ("max_tier: x", "max_tier", "'x' is not a tier", "known: easy, hard"),
        ("min_tier: hard, max_tier: easy", "min_tier", "'hard' is above max_tier, which is 'easy'", "swap the two"),
    ],
)
def test_limits_of_an_alias_that_cannot_be(limits: str, path: str, message: str, hint: str) -> None:
    alias = f"auto:\n      {{route: auto_route, {limits}}}"
    assert changed("auto: auto_route", alias) == [(13, f"routing.aliases.auto.{path}", message, hint)]


@pytest.mark.parametrize("limits", ["min_tier: hard", "max_tier: easy", "min_tier: easy, max_tier: easy"])
def test_limits_of_an_alias(limits: str) -> None:
    assert changed("auto: auto_route", f"auto: {{route: auto_route, {limits}}}") == []


def test_an_alias_may_name_what_a_wildcard_of_model_list_covers() -> None:
    wild = GOOD.replace("  - model_name: large", "  - model_name: vendor/*\n    litellm_params: {model: openai/*}\n"
                        "  - model_name: large")  # fmt: skip
    assert problems(wild.replace("big: large", "big: vendor/x")) == []
    assert [path for _, path, _, _ in problems(wild.replace("big: large", "big: other/x"))] == ["routing.aliases.big"]


def test_every_mistake_is_reported_at_once_in_the_order_of_the_file() -> None:
    text = textwrap.dedent("""\
        model_list:
          - model_name: small
            litellm_params: {model: openai/gpt-5-nano}
          - model_name: ""
            litellm_params: {}
        routing:
          tiers:
            easy: {score_range: [0, 40], model: smal}
            hard: {score_range: [51, 99], models: []}
          fallback_tier: middle
          aliases:
            a: b
            b: a
            c: nowhere
            d: 5
          auto_route_patterns: ["[", 3]
          unknown_models: maybe
          colector: {}
          classifier: {static: {weights: {token_count: -1}, token_thresholds: [5, 4, 3, 2, 1]}}
        """)
    found = problems(text)
    assert [(line, path) for line, path, _, _ in found] == [
        (4, "model_list[1].model_name"),
        (5, "model_list[1].litellm_params"),
        (7, "routing.tiers"),  # nothing at 100
        (8, "routing.tiers.easy.model"),
        (9, "routing.tiers.hard"),  # no model
        (9, "routing.tiers.hard.score_range"),  # a hole
        (10, "routing.fallback_tier"),
        (12, "routing.aliases.a"),
        (13, "routing.aliases.b"),
        (14, "routing.aliases.c"),
        (15, "routing.aliases.d"),
        (16, "routing.auto_route_patterns[1]"),
        (17, "routing.unknown_models"),
        (18, "routing.colector"),
        (19, "routing.classifier.static.token_thresholds"),
        (19, "routing.classifier.static.weights.token_count"),
    ]


def test_mistakes_in_several_items_of_one_list() -> None:
    found = added("auto_route_patterns: [1, ok, null]\nclassifier: {static: {simple_keywords: [1, 2]}}")
    assert [(path, message) for _, path, message, _ in found] == [
        ("routing.auto_route_patterns[0]", "must be string, not integer"),
        ("routing.auto_route_patterns[2]", "must be string, not null"),
        ("routing.classifier.static.simple_keywords[0]", "must be string, not integer"),
        ("routing.classifier.static.simple_keywords[1]", "must be string, not integer"),
    ]


def test_a_mistake_in_one_item_does_not_move_the_others() -> None:
    found = problems(GOOD.replace("model_list:\n", "model_list:\n  - 7\n").replace("model_name: large", "x: y"))
    assert (2, "model_list[0]", "must be object, not integer", "") in found
    assert (5, "model_list[2].model_name") in [(line, path) for line, path, _, _ in found]


def test_nothing_follows_from_what_was_left_out() -> None:
    # `auto` names an alias that is wrong in itself; no second mistake.
    assert changed("auto: auto_route\n    big: large", "auto: big\n    big: 5") == [
        (13, "routing.aliases.big", "must be string or object, not integer", "")
    ]
    assert changed("model: large}", "models: [5]}") == [
        (9, "routing.tiers.hard.models[0]", "must be string, not integer", "")
    ]


# Seven anchors, each ten times the one before, of a word of ten letters: eleven millions.
ANCHORS = "a0: &a0 [aaaaaaaaaa]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 7))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: [", 1, "is not valid YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\nb: {c\n", 3, "is not valid YAML: expected ',' or '}', but got '<stream end>'"),
        ("a: 1\n\tb: 2", 2, "is not valid YAML: found character '\\t' that cannot start any token"),
        ("a: *gone", 1, "is not valid YAML: found undefined alias 'gone'"),
        ("a: 1\nb: \x01", 2, "is not valid YAML: character #x0001 is not allowed"),
        ("a: 1\nb: \ud800", 2, "is not valid YAML: character #xd800 is not allowed"),
        ("a: 1\nb: 2020-13-45", 2, "is not valid YAML: is not a valid timestamp"),
        ("a: 1\nb: !!timestamp soon", 2, "is not valid YAML: is not a valid timestamp"),
        ("a: 1\nb: !!bool perhaps", 2, "is not valid YAML: is not a valid bool"),
        ("a: 1\nb: !!int ''", 2, "is not valid YAML: is not a valid int"),
        ("a: 1\nb: " + "9" * 5000, 2, "is not valid YAML: is not a valid int"),
        ("a: !!python/object/apply:os.system [x]", 1, None),
        ("? [a]\n: 1", 1, "is not valid YAML: found unhashable key"),
        ("--- 1\n--- 2\n", 2, "is not valid YAML: but found another document"),
        ("[" * 5000, 0, "is not valid YAML: nested too deeply"),
        (ANCHORS, 0, "is not valid YAML: more than 10000000 characters when its anchors are written out"),
        ("", 0, "is not a mapping"),
        ("just text", 0, "is not a mapping"),
        ("- a\n- b", 0, "is not a mapping"),
        ("&a [*a]", 0, "is not a mapping"),
    ],
)  # fmt: skip
def test_what_is_not_a_yaml_mapping(text: str, line: int, message: str | None) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0][0] == line
    assert found[0][1] == ""
    if message is not None:
        assert found[0][2] == message


def test_yaml_that_holds_itself() -> None:
    assert problems(GOOD + "extra: &x {y: *x}\n") == []
    assert [path for _, path, _, _ in problems("model_list: &m [*m]\nrouting: &r {a: *r}\n")] == [
        "model_list[0]", "routing", "routing", "routing.a"
    ]  # fmt: skip


def test_a_reference_that_is_needed_and_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_URL", raising=False)
    text = GOOD + "litellm_settings:\n  cache_params:\n    - {host: os.environ/SOME_URL}\n"
    assert problems(text) == [
        (
            16,
            "litellm_settings.cache_params[0].host",
            "environment variable SOME_URL is not set",
            "export SOME_URL=... or put it into .env",
        )
    ]
    monkeypatch.setenv("SOME_URL", "x")
    assert problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("{model: openai/gpt-5}", "{model: openai/gpt-5, api_key: os.environ/UNSET}"),
        GOOD.replace("{model: openai/gpt-5}", "{model: openai/gpt-5, api_base: os.environ/UNSET}"),
        GOOD + "general_settings: {master_key: os.environ/UNSET}\n",
        GOOD + "  collector: {database_url: os.environ/UNSET}\n",
    ],
)
def test_references_that_serve_can_do_without(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    assert problems(text) == []


@pytest.mark.parametrize("name", ["", "A B", "A=B", "\\ud800", "\\0"])
def test_references_to_what_is_no_variable(name: str) -> None:
    found = problems(GOOD + f'general_settings: {{master_key: "os.environ/{name}"}}\n')
    assert [(line, path) for line, path, _, _ in found] == [(14, "general_settings.master_key")]
    assert found[0][3] == "write os.environ/NAME"


SECRET = "hunter2secret"


@pytest.mark.parametrize(
    "text",
    [
        f"collector: {{database_url: {{password: {SECRET}}}}}",
        f"collector: {{database_url: [postgresql://u:{SECRET}@h/d]}}",
        f"collector: {{database_url: 'mysql://u:{SECRET}@h/d'}}",
        f"collector: {{database_url: 'postgresql://u:p/{SECRET}@h/d'}}",
        f"collector: {{embedding: {{model: m, api_base: 'u:{SECRET}@h'}}}}",
        f"classifier: {{llm: {{model: m, api_base: 'http://u:{SECRET}@h:1'}}}}",
        f"collector: [{SECRET}]",
        f"collector: {{flush_seconds: {SECRET}}}",
        f"classifier: {{static: {SECRET}}}",
        f"tiers2: {SECRET}",
    ],
)
def test_no_value_is_quoted_that_may_be_a_secret(text: str) -> None:
    found = added(text)
    assert len(found) == 1
    assert SECRET not in str(found)


def test_problems_read_as_one_line() -> None:
    assert Problem(3, "a.b", "is wrong", "mend it").render("f.yaml") == "f.yaml:3: a.b: is wrong; mend it"
    assert Problem(0, "", "cannot be read").render("f.yaml") == "f.yaml: cannot be read"
    found = check(GOOD + '  "a\\nb\\u009b31m\\ud800": 1\n')[1]
    assert {problem.path for problem in found} == {"routing.a\\nb\\x9b31m\\ud800"}
    assert [problem.message for problem in found] == ["key must be text", "unknown key"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: caf\xe9")
    expected = {
        "gone": "cannot be read: No such file or directory",
        ".": "cannot be read: Is a directory",
        "latin": "is not UTF-8 text (byte 6)",
    }
    for name, message in expected.items():
        config, found = check_file(tmp_path / name)
        assert config is None
        assert [(problem.line, problem.message) for problem in found] == [(0, message)]


def test_load_config_raises_with_every_mistake(tmp_path: Path) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(GOOD.replace("model: large}", "model: lagre}").replace("big: large", "big: nowhere"))
    with pytest.raises(ConfigError, match=r"has 2 mistake\(s\)") as caught:
        load_config(path)
    assert caught.value.problems == (
        f"{path}:9: routing.tiers.hard.model: 'lagre' is not in model_list; did you mean 'large'?",
        f"{path}:13: routing.aliases.big: 'nowhere' is neither in model_list nor an alias nor auto_route; "
        "known: small, large, auto, big, auto_route",
    )
    assert str(caught.value).splitlines()[1:] == list(caught.value.problems)
    assert isinstance(caught.value, GatewayError)


def test_load_config_of_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text("\ufeff" + GOOD, encoding="utf-8")
    assert load_config(str(tmp_path / "g.yaml")).routing.fallback_tier == "hard"
