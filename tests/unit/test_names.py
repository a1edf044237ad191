"""`names.py`: which of the rules a requested name falls under, and in which order they are asked."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.config import Config, Routing
from bsgateway.decision import Method, Reason
from bsgateway.names import MAX_NAME, Names, Route, wildcard_covers

PASSTHROUGH, ALIAS, PATTERN, AUTO = Method.PASSTHROUGH, Method.ALIAS, Method.PATTERN, Method.AUTO


def names_of(models: list[str], **routing: Any) -> Names:
    tiers = {"only": {"score_range": [0, 100], "model": models[0]}}
    section = msgspec.convert({"tiers": tiers, "fallback_tier": "only", **routing}, Routing)
    return Names(Config(Path("gateway.yaml"), section, {"model_list": [{"model_name": name} for name in models]}))


def never(_: str) -> bool:
    return False


NAMES = names_of(
    ["gpt-5", "claude-own", "vendor/*", "shared"],
    aliases={
        "auto": "auto_route",
        "cheap": {"route": "auto_route", "bias": -20},
        "fast": "gpt-5",
        "faster": "fast",
        "cheaper": "cheap",
        "again": "auto",
        "wild": "vendor/x",
        "claude-alias": "gpt-5",
        "shared": "gpt-5",
    },
    auto_route_patterns=["claude-*", "vendor/auto-?", "[gh]pt-[!5]"],
)


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("gpt-5", Route(PASSTHROUGH, Reason.MODEL_LIST, "gpt-5")),
        ("vendor/*", Route(PASSTHROUGH, Reason.MODEL_LIST, "vendor/*")),
        # A name of model_list comes before an alias and before a pattern.
        ("shared", Route(PASSTHROUGH, Reason.MODEL_LIST, "shared")),
        ("claude-own", Route(PASSTHROUGH, Reason.MODEL_LIST, "claude-own")),
        ("auto", Route(AUTO, Reason.SCORE)),
        ("cheap", Route(AUTO, Reason.SCORE, bias=-20)),
        ("fast", Route(ALIAS, Reason.ALIAS_MODEL, "gpt-5")),
        ("wild", Route(ALIAS, Reason.ALIAS_MODEL, "vendor/x")),
        # Aliases of aliases are followed to the end, their bias with them.
        ("faster", Route(ALIAS, Reason.ALIAS_MODEL, "gpt-5")),
        ("cheaper", Route(AUTO, Reason.SCORE, bias=-20)),
        ("again", Route(AUTO, Reason.SCORE)),
        # An alias comes before a pattern, a pattern before a wildcard.
        ("claude-alias", Route(ALIAS, Reason.ALIAS_MODEL, "gpt-5")),
        ("claude-sonnet-4-5", Route(PATTERN, Reason.PATTERN_SCORE)),
        ("claude-", Route(PATTERN, Reason.PATTERN_SCORE)),
        ("vendor/auto-1", Route(PATTERN, Reason.PATTERN_SCORE)),
        ("vendor/auto-12", Route(PASSTHROUGH, Reason.WILDCARD, "vendor/auto-12")),
        ("hpt-6", Route(PATTERN, Reason.PATTERN_SCORE)),
        ("hpt-5", Route(AUTO, Reason.UNKNOWN_SCORE)),
        # Case counts, and so does the whole name.
        ("Claude-3", Route(AUTO, Reason.UNKNOWN_SCORE)),
        ("my-claude-3", Route(AUTO, Reason.UNKNOWN_SCORE)),
        ("GPT-5", Route(AUTO, Reason.UNKNOWN_SCORE)),
        ("auto_route", Route(AUTO, Reason.UNKNOWN_SCORE)),
        ("", Route(AUTO, Reason.UNKNOWN_SCORE)),
        ("x\ud800\x00\r\n", Route(AUTO, Reason.UNKNOWN_SCORE)),
    ],
)
def test_resolve(name: str, route: Route) -> None:
    assert NAMES.resolve(name, never) == route


def test_a_name_that_litellm_knows_from_elsewhere() -> None:
    asked: list[str] = []

    def knows(name: str) -> bool:
        asked.append(name)
        return True

    assert NAMES.resolve("db-model", knows) == Route(PASSTHROUGH, Reason.HOST_MODEL, "db-model")
    # It is asked last: it may have to look into a router, and the config says more about these.
    for name in ("gpt-5", "auto", "claude-3", "vendor/x"):
        assert NAMES.resolve(name, knows).reason is not Reason.HOST_MODEL
    assert asked == ["db-model"]


def test_unknown_names_can_be_left_to_litellm() -> None:
    names = names_of(["m"], unknown_models="leave", auto_route_patterns=["a*"])
    assert names.resolve("other", never) == Route(PASSTHROUGH, Reason.UNKNOWN_LEFT, "other")
    assert names.resolve("abc", never) == Route(PATTERN, Reason.PATTERN_SCORE)
    assert names.resolve("other", lambda _: True) == Route(PASSTHROUGH, Reason.HOST_MODEL, "other")


def test_a_name_longer_than_any_real_one_is_unknown() -> None:
    longest = "claude-" + "x" * (MAX_NAME - len("claude-"))
    assert NAMES.resolve(longest, never).reason is Reason.PATTERN_SCORE
    assert NAMES.resolve(longest + "x", never) == Route(AUTO, Reason.UNKNOWN_SCORE)
    assert NAMES.resolve("vendor/" + "x" * MAX_NAME, lambda _: True) == Route(AUTO, Reason.UNKNOWN_SCORE)
    left = names_of(["m"], unknown_models="leave", auto_route_patterns=["*"])
    assert left.resolve("x" * MAX_NAME, never).reason is Reason.PATTERN_SCORE
    assert left.resolve("x" * (MAX_NAME + 1), never).reason is Reason.UNKNOWN_LEFT


@pytest.mark.parametrize(
    ("wildcard", "name", "covered"),
    [
        ("openai/*", "openai/gpt-5", True),
        ("openai/*", "openai/", True),
        ("openai/*", "openai", False),
        ("openai/*", "xopenai/gpt-5", False),
        ("*", "anything at all\n", True),
        ("*", "", True),
        ("a*c", "abbc", True),
        ("a*c", "abbcd", False),
        ("a*c*", "abcd", True),
        ("plain", "plain", False),
        ("a?*", "a?b", True),
        ("a?*", "abb", False),
        ("a.*", "abb", False),
        ("[ab]*", "a1", False),
    ],
)
def test_wildcards_of_model_list(wildcard: str, name: str, covered: bool) -> None:
    assert wildcard_covers(["other", wildcard], name) is covered


_name = st.sampled_from(["a", "b", "ab", "abc", "a/b", "c*", "a-1", "A", "zz", "a*"])
_pattern = st.sampled_from(["a*", "?", "[ab]", "[!a]*", "*b", "abc", "a/[a-c]"])
_target = st.one_of(
    st.just("auto_route"),
    st.sampled_from(["model-1", "model-2"]),
    st.builds(lambda bias: {"route": "auto_route", "bias": bias}, st.integers(-100, 100)),
)


def by_the_rules(
    name: str, models: list[str], aliases: dict[str, Any], patterns: list[str], known: set[str], unknown: str
) -> Route:
    """The rules of the documentation, one after the other."""
    if name in models:
        return Route(PASSTHROUGH, Reason.MODEL_LIST, name)
    if name in aliases:
        target = aliases[name]
        if target == "auto_route":
            return Route(AUTO, Reason.SCORE)
        if isinstance(target, dict):
            return Route(AUTO, Reason.SCORE, bias=target["bias"])
        return Route(ALIAS, Reason.ALIAS_MODEL, target)
    if any(fnmatchcase(name, pattern) for pattern in patterns):
        return Route(PATTERN, Reason.PATTERN_SCORE)
    # In these models a star is the only special character, so that fnmatch agrees with LiteLLM.
    if any("*" in model and fnmatchcase(name, model) for model in models):
        return Route(PASSTHROUGH, Reason.WILDCARD, name)
    if name in known:
        return Route(PASSTHROUGH, Reason.HOST_MODEL, name)
    if unknown == "auto":
        return Route(AUTO, Reason.UNKNOWN_SCORE)
    return Route(PASSTHROUGH, Reason.UNKNOWN_LEFT, name)


@settings(deadline=None, derandomize=True, database=None, max_examples=300)
@given(
    name=_name,
    models=st.lists(_name, min_size=1, max_size=4),
    aliases=st.dictionaries(_name, _target, max_size=4),
    patterns=st.lists(_pattern, max_size=3),
    known=st.sets(_name, max_size=3),
    unknown=st.sampled_from(["auto", "leave"]),
)
def test_the_order_of_the_rules(
    name: str, models: list[str], aliases: dict[str, Any], patterns: list[str], known: set[str], unknown: str
) -> None:
    names = names_of(models, aliases=aliases, auto_route_patterns=patterns, unknown_models=unknown)
    expected = by_the_rules(name, models, aliases, patterns, known, unknown)
    assert names.resolve(name, known.__contains__) == expected
