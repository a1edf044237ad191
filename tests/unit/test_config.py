"""`config.py`: structs, schema, references to the environment, and the analyzer a config asks for."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from bsgateway import config as config_module
from bsgateway.check import check_file, check_text
from bsgateway.config import (
    AutoAlias,
    Collector,
    Config,
    GatewayFile,
    Learning,
    Llm,
    Routing,
    Spool,
    Tier,
    json_schema,
    make_analyzer,
    resolve_env,
    spool_directory,
)
from bsgateway.core import core

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "gateway.yaml"
SCHEMA = ROOT / "python" / "bsgateway" / "gateway.schema.json"


def routing(**fields: Any) -> Routing:
    """The smallest valid section, with more fields."""
    tiers = {"only": {"score_range": [0, 100], "model": "m"}}
    return msgspec.convert({"tiers": tiers, "fallback_tier": "only", **fields}, Routing)


def test_the_committed_schema_is_the_one_of_the_code() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == json.dumps(json_schema(), indent=2) + "\n"


def test_the_schema_is_a_schema() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_reference_configuration_has_no_mistake() -> None:
    config, problems = check_file(REFERENCE)
    assert problems == []
    assert config is not None
    assert config.model_names == ("local/glm-4.7-flash", "gpt-5-mini", "claude-opus")
    jsonschema.Draft202012Validator(json_schema()).validate(yaml.safe_load(REFERENCE.read_text(encoding="utf-8")))


def test_the_reference_configuration_says_the_defaults() -> None:
    config, _ = check_file(REFERENCE)
    assert config is not None
    assert config.routing.classifier == routing().classifier
    assert config.routing.collector == Collector()
    assert config.routing.unknown_models == routing().unknown_models == "auto"


def _commented(name: str, indent: str) -> dict[str, Any]:
    """The section `name` that the reference configuration shows in comments: up to the next empty line."""
    text = REFERENCE.read_text(encoding="utf-8")
    begin = text.index(f"{indent}# {name}:\n")
    lines = text[begin : text.index("\n\n", begin)].splitlines()
    section: dict[str, Any] = yaml.safe_load("\n".join(line.replace("# ", "", 1) for line in lines))[name]
    return section


def test_what_the_reference_configuration_says_of_learning_are_the_defaults() -> None:
    said = _commented("learning", "  ")
    assert msgspec.convert(said, Learning) == Learning()
    assert {*said} == {*Learning.__struct_fields__}


def test_what_the_reference_configuration_says_of_the_strategy_llm_are_the_defaults() -> None:
    said = _commented("llm", "    ")
    assert msgspec.convert(said, Llm) == Llm(model=said["model"])
    assert {*said, "api_base"} == {*Llm.__struct_fields__}


def test_the_reference_configuration_uncommented_is_one_for_the_strategy_llm() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    (medium,) = re.findall("    # (medium: .*)", text)
    whole = yaml.safe_load(text)
    whole["routing"]["tiers"] |= yaml.safe_load(medium)
    whole["routing"]["classifier"] |= {"strategy": "llm", "llm": _commented("llm", "    ")}
    config, problems = check_text(yaml.safe_dump(whole, sort_keys=False), REFERENCE)
    assert problems == []
    assert config is not None
    assert config.routing.tiers["medium"].description
    jsonschema.Draft202012Validator(json_schema()).validate(whole)


def test_the_first_line_of_the_reference_configuration_points_editors_to_the_schema() -> None:
    line = REFERENCE.read_text(encoding="utf-8").splitlines()[0]
    marker, _, path = line.partition("$schema=")
    assert marker == "# yaml-language-server: "
    assert (REFERENCE.parent / path).resolve() == SCHEMA


STRUCTS = [
    struct
    for struct in vars(config_module).values()
    if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and struct is not msgspec.Struct
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_option_is_described_and_frozen(struct: type[msgspec.Struct]) -> None:
    properties = msgspec.json.schema(struct)["$defs"][struct.__name__]["properties"]
    assert [name for name, schema in properties.items() if not schema.get("description")] == []
    assert struct.__struct_config__.frozen
    # LiteLLM's own sections stand beside ours; everything inside ours is ours.
    assert struct.__struct_config__.forbid_unknown_fields is (struct is not GatewayFile)


def test_defaults_of_the_collector() -> None:
    assert msgspec.structs.asdict(Collector()) == {
        "enabled": True,
        "database_url": "os.environ/COLLECTOR_DATABASE_URL",
        "text": "redacted",
        "text_chars": 32_768,
        "opt_out": "nothing",
        "queue_rows": 100_000,
        "queue_bytes": 402_653_184,
        "spool": Spool(),
        "batch_rows": 1_000,
        "flush_seconds": 1.0,
        "partition": "month",
        "retention_days": None,
        "text_retention_days": 30,
        "embedding": None,
    }


def test_defaults_of_the_static_score() -> None:
    static = routing().classifier.static
    assert msgspec.structs.asdict(static.weights) == {
        "token_count": 0.20,
        "system_prompt": 0.05,
        "keyword_patterns": 0.40,
        "conversation_length": 0.10,
        "code_complexity": 0.15,
        "tool_usage": 0.10,
    }
    assert tuple(static.weights.__struct_fields__) == core.SIGNALS
    assert static.token_thresholds == (20, 100, 400, 1500, 6000)
    assert (static.complex_keywords, static.simple_keywords) == (None, None)


def test_defaults_of_the_analysis() -> None:
    assert msgspec.structs.asdict(routing().analysis) == {
        "encoding": "o200k_base",
        "exact_token_bytes": 32_768,
        "memo_bytes": 16_777_216,
    }


@pytest.mark.parametrize(
    ("tier", "candidates"),
    [
        (Tier((0, 1), model="a"), ("a",)),
        (Tier((0, 1), models=("a", "b")), ("a", "b")),
        (Tier((0, 1)), ()),
        (Tier((0, 1), models=()), ()),
    ],
)
def test_candidates_of_a_tier(tier: Tier, candidates: tuple[str, ...]) -> None:
    assert tier.candidates == candidates


def test_an_alias_is_a_name_or_a_route_with_a_bias() -> None:
    aliases = routing(
        aliases={"a": "auto_route", "b": {"route": "auto_route"}, "c": {"route": "auto_route", "bias": -15}}
    )
    assert aliases.aliases == {"a": "auto_route", "b": AutoAlias("auto_route", 0), "c": AutoAlias("auto_route", -15)}


def test_model_names_are_in_order_and_once() -> None:
    host = {"model_list": [{"model_name": name} for name in ("b", "a", "b", "c", "a")]}
    assert Config(Path("x"), routing(), host).model_names == ("b", "a", "c")


def test_a_config_is_frozen() -> None:
    config = Config(Path("x"), routing(), {"model_list": []})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.path = Path("y")  # type: ignore[misc]
    with pytest.raises(AttributeError):
        config.routing.fallback_tier = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        (None, None),
        ("", None),
        ("plain", "plain"),
        ("os.environ/SET", "value"),
        ("os.environ/EMPTY", None),
        ("os.environ/UNSET", None),
        ("os.environ/", None),
        ("x os.environ/SET", "x os.environ/SET"),
    ],
)
def test_references_to_the_environment(
    value: str | None, resolved: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SET", "value")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    assert resolve_env(value) == resolved


def test_the_spool_directory_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SPOOL", "/var/spool/gateway")
    monkeypatch.delenv("UNSET", raising=False)
    expected = {
        None: tmp_path / "state" / "spool",
        "os.environ/UNSET": tmp_path / "state" / "spool",
        "os.environ/SPOOL": Path("/var/spool/gateway"),
        "/srv/spool": Path("/srv/spool"),
        "here": tmp_path / "here",
        "~/spool": tmp_path / "home" / "spool",
    }
    for given, directory in expected.items():
        assert spool_directory(Collector(spool=Spool(directory=given)), Path("state")) == directory
    assert spool_directory(Collector(spool=Spool(enabled=False)), Path("state")) is None


def keyword_counts(section: Routing, text: str) -> tuple[float, float]:
    features = make_analyzer(section).analyze({"messages": [{"role": "user", "content": text}]}, "chat").features
    names = core.FEATURE_NAMES
    return features[names.index("complex_keywords")], features[names.index("simple_keywords")]


def static(**fields: Any) -> Routing:
    return routing(classifier={"static": fields})


def test_the_built_in_keywords_are_used_unless_there_are_others() -> None:
    text = "hello, prove the zebra theorem"
    assert keyword_counts(routing(), text) == (2, 1)  # prove, theorem; hello
    assert keyword_counts(static(complex_keywords=["zebra"], simple_keywords=["the", "theorem"]), text) == (1, 2)
    assert keyword_counts(static(complex_keywords=[]), text) == (0, 1)


def test_the_analyzer_gets_weights_and_thresholds() -> None:
    weights = dict.fromkeys(core.SIGNALS, 0.0) | {"token_count": 3}
    section = static(weights=weights, token_thresholds=[1, 2, 3, 4, 5], complex_keywords=[], simple_keywords=[])
    analysis = make_analyzer(section).analyze({"messages": [{"content": "one two three"}]}, "chat")
    assert (analysis.ask_tokens, analysis.raw_score) == (3, 60.0)


@pytest.mark.parametrize(
    ("collector", "kept"),
    [
        ({"text": "full"}, "four words of mine"),
        ({"text": "full", "text_chars": 4}, "four"),
        ({"text": "none"}, ""),
        ({"text": "full", "enabled": False}, ""),
        ({}, "four words of mine"),
    ],
)
def test_words_are_kept_only_when_asked_for(collector: dict[str, Any], kept: str) -> None:
    analyzer = make_analyzer(routing(collector=collector))
    assert analyzer.analyze({"messages": [{"content": "four words of mine"}]}, "chat").ask == kept


@pytest.mark.parametrize("text", ["none", "full"])
def test_the_strategy_llm_is_shown_the_beginning_and_the_end_of_an_ask(text: str) -> None:
    llm = {"strategy": "llm", "llm": {"model": "m", "ask_chars": 200}}
    body = {"messages": [{"content": "a" * 250 + "b" * 250}]}

    def captured(**fields: Any) -> tuple[str, str]:
        analysis = make_analyzer(routing(collector={"text": text, "text_chars": 220}, **fields)).analyze(body, "chat")
        return analysis.ask, analysis.ask_tail

    assert captured(classifier=llm) == ("a" * (220 if text == "full" else 200), "b" * 66)
    assert captured() == ("a" * (220 if text == "full" else 0), "")


def test_text_over_the_exact_budget_is_estimated() -> None:
    body = {"messages": [{"content": "twelve bytes"}]}
    for budget, exact in [(12, True), (11, False)]:
        analyzer = make_analyzer(routing(analysis={"exact_token_bytes": budget}))
        assert analyzer.analyze(body, "chat").tokens_exact is exact


@pytest.mark.parametrize(("memo_bytes", "hits"), [(0, 0), (1_000_000, 1)])
def test_texts_are_remembered_in_so_many_bytes(memo_bytes: int, hits: int) -> None:
    analyzer = make_analyzer(routing(analysis={"memo_bytes": memo_bytes}))
    for _ in range(2):
        analyzer.analyze({"messages": [{"content": "long enough to be looked up"}]}, "chat")
    assert (analyzer.memo_stats().hits, analyzer.memo_stats().capacity_bytes) == (hits, memo_bytes)
