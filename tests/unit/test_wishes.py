"""`wishes.py`: biases and limits of operator and client, put together; and what is left out, and said, of the rest."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway import wishes as wishes_module
from bsgateway.config import Routing
from bsgateway.decision import Caller, Method, Reason
from bsgateway.names import Route
from bsgateway.wishes import HEADERS, METADATA, WORDS, Wisher, Wishes, spoken

TIERS = {
    "complex": {"score_range": [66, 100], "model": "c"},  # the order of scores counts, not that of the file
    "simple": {"score_range": [0, 30], "model": "a"},
    "medium": {"score_range": [31, 65], "model": "b"},
}
PLACES = {"simple": 0, "medium": 1, "complex": 2, None: None}


def wisher(*overrides: str, bias: int = 0) -> Wisher:
    section = {"tiers": TIERS, "fallback_tier": "medium", "client_overrides": overrides, "bias": bias}
    return Wisher(msgspec.convert(section, Routing))


def route(bias: int = 0, min_tier: str | None = None, max_tier: str | None = None) -> Route:
    return Route(Method.AUTO, Reason.SCORE, None, bias, min_tier, max_tier)


def request(headers: Mapping[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "model": "auto",
        "metadata": {"user_id": "u", **metadata},
        "proxy_server_request": {"headers": {"host": "localhost", **(headers or {})}},
    }


PLAIN = route()


# The operator


def test_nobody_wishes_anything() -> None:
    assert wisher(*WORDS).of(request(), PLAIN) == Wishes()


def test_biases_add_up() -> None:
    given = wisher("bias", bias=5).of(
        request({"x-bsgateway-bias": "-3"}), route(-15), {"bsgateway": {"bias": 7}}, {"bsgateway": {"bias": 30}}
    )
    assert given == Wishes(bias=5 - 3 - 15 + 7 + 30)


@pytest.mark.parametrize(("key", "expected"), [(100, 100), (-100, -100)])
def test_a_sum_of_biases_is_bounded(key: int, expected: int) -> None:
    metadata = {"bsgateway": {"bias": key}}
    assert wisher(bias=key).of(request(), route(key), metadata, metadata).bias == expected


def test_a_bias_is_bounded_at_the_end_only() -> None:
    assert wisher(bias=90).of(request(), route(90), {"bsgateway": {"bias": -100}}).bias == 80


@pytest.mark.parametrize(
    ("alias", "key", "team", "expected"),
    [
        (("simple", "complex"), (None, None), (None, None), ("simple", "complex")),
        (("simple", None), ("medium", None), (None, None), ("medium", None)),
        (("complex", None), ("medium", None), ("simple", None), ("complex", None)),
        ((None, "complex"), (None, "medium"), (None, "simple"), (None, "simple")),
        ((None, "simple"), (None, "complex"), (None, None), (None, "simple")),
        # What may be spent counts more than what should be.
        (("complex", None), (None, None), (None, "medium"), ("medium", "medium")),
        ((None, None), ("complex", "simple"), (None, None), ("simple", "simple")),
    ],
)
def test_the_narrowest_limits_hold(alias: Any, key: Any, team: Any, expected: Any) -> None:
    key_metadata, team_metadata = ({"bsgateway": {"min_tier": low, "max_tier": high}} for low, high in (key, team))
    given = wisher().of(request(), route(0, *alias), key_metadata, team_metadata)
    assert (given.min_tier, given.max_tier) == expected


# The client


@pytest.mark.parametrize(
    ("word", "value", "expected"),
    [
        ("tier", "simple", Wishes(tier="simple")),
        ("tier", " complex ", Wishes(tier="complex")),
        ("min_tier", "medium", Wishes(min_tier="medium")),
        ("max_tier", "medium", Wishes(max_tier="medium")),
        ("bias", "-100", Wishes(bias=-100)),
        ("bias", "+7", Wishes(bias=7)),
        ("bias", " 7 ", Wishes(bias=7)),
        ("bias", "0", Wishes()),
        ("dry_run", "true", Wishes(dry_run=True)),
        ("dry_run", "Yes", Wishes(dry_run=True)),
        ("dry_run", "1", Wishes(dry_run=True)),
        ("dry_run", "false", Wishes()),
        ("dry_run", "0", Wishes()),
    ],
)
def test_a_word_in_a_header_or_in_metadata(word: str, value: str, expected: Wishes) -> None:
    (header,), (key,) = ([name for name, of in names.items() if of == word] for names in (HEADERS, METADATA))
    assert wisher(word).of(request({header: value}), PLAIN) == expected
    data = request(None, **{key: value})
    assert wisher(word).of(data, PLAIN) == expected
    assert data["metadata"] == {"user_id": "u"}
    # A client that may not is told so, by the name it used.
    others = [other for other in WORDS if other != word]
    assert wisher(*others).of(request({header: value}), PLAIN) == Wishes(ignored=(header,))
    assert wisher(*others).of(request(None, **{key: value}), PLAIN) == Wishes(ignored=(key,))


NO_TIERS = ("", "Simple", "nope", 1, None, ["simple"])
NO_BIASES = ("", "x", "1.5", "101", "-101", "1e2", "\u0663", "9" * 5000, 1.5, True, None, [1], 10**40)
MEANINGLESS = {
    "tier": NO_TIERS,
    "min_tier": NO_TIERS,
    "max_tier": NO_TIERS,
    "bias": NO_BIASES,
    "dry_run": ("", "maybe", 2, None, {}, 0.5),
}


@pytest.mark.parametrize(("word", "value"), [(word, value) for word, values in MEANINGLESS.items() for value in values])
def test_a_word_that_means_nothing(word: str, value: Any) -> None:
    key = f"bsgateway_{word}"
    data = request(None, **{key: value})
    assert wisher(*WORDS).of(data, PLAIN) == Wishes(ignored=(key,))
    assert key not in data["metadata"]
    if isinstance(value, str):
        header = f"x-bsgateway-{word.replace('_', '-')}"
        assert wisher(*WORDS).of(request({header: value}), PLAIN) == Wishes(ignored=(header,))


@pytest.mark.parametrize(("value", "expected"), [(5, 5), (-100, -100), ("5", 5)])
def test_a_bias_in_metadata_may_be_a_number(value: Any, expected: int) -> None:
    assert wisher("bias").of(request(None, bsgateway_bias=value), PLAIN) == Wishes(bias=expected)


@pytest.mark.parametrize(("value", "expected"), [(True, True), (1, True), (False, False)])
def test_a_dry_run_in_metadata_may_be_a_truth_value(value: Any, expected: bool) -> None:
    assert wisher("dry_run").of(request(None, bsgateway_dry_run=value), PLAIN) == Wishes(dry_run=expected)


@pytest.mark.parametrize("limited", ["alias", "key", "team"])
def test_no_dry_run_where_the_operator_limits_what_may_be_spent(limited: str) -> None:
    """A request that is not rewritten goes to whatever its name stands for."""
    section = {"bsgateway": {"max_tier": "complex"}}
    given = wisher("dry_run", "max_tier").of(
        request({"x-bsgateway-dry-run": "true"}),
        route(max_tier="complex" if limited == "alias" else None),
        section if limited == "key" else None,
        section if limited == "team" else None,
    )
    assert given == Wishes(max_tier="complex", ignored=("x-bsgateway-dry-run",))
    # The client's own limit is no reason.
    own = request({"x-bsgateway-dry-run": "true", "x-bsgateway-max-tier": "simple"})
    assert wisher("dry_run", "max_tier").of(own, PLAIN) == Wishes(max_tier="simple", dry_run=True)


def test_a_header_counts_more_than_metadata() -> None:
    data = request({"x-bsgateway-tier": "simple"}, bsgateway_tier="complex", bsgateway_bias=3)
    assert wisher("tier", "bias").of(data, PLAIN) == Wishes(bias=3, tier="simple")
    assert data["metadata"] == {"user_id": "u"}


def test_all_that_is_ignored_is_named() -> None:
    data = request({"x-bsgateway-tier": "nope", "x-bsgateway-dry-run": "true"}, bsgateway_bias="x")
    assert set(wisher("tier", "bias").of(data, PLAIN).ignored) == {
        "x-bsgateway-tier", "x-bsgateway-dry-run", "bsgateway_bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("client", "operator", "expected"),
    [
        # Within the operator's limits.
        (("medium", None), ("simple", "complex"), ("medium", "complex")),
        ((None, "medium"), ("simple", "complex"), ("simple", "medium")),
        # Never beyond them.
        (("complex", None), (None, "medium"), ("medium", "medium")),
        ((None, "complex"), (None, "medium"), (None, "medium")),
        ((None, "simple"), ("medium", None), ("medium", "medium")),
        (("simple", None), ("medium", None), ("medium", None)),
        # Of the client's own two the highest wins as well.
        (("complex", "simple"), (None, None), ("simple", "simple")),
    ],
)
def test_the_clients_limits_work_within_the_operators(client: Any, operator: Any, expected: Any) -> None:
    names = ("x-bsgateway-min-tier", "x-bsgateway-max-tier")
    headers = {name: tier for name, tier in zip(names, client, strict=True) if tier is not None}
    given = wisher("min_tier", "max_tier").of(request(headers), route(0, *operator))
    assert (given.min_tier, given.max_tier) == expected


TIER = st.sampled_from(["simple", "medium", "complex", None])
LIMITS = st.tuples(TIER, TIER)


@settings(max_examples=300, deadline=None)
@given(LIMITS, LIMITS, LIMITS, LIMITS, TIER)
def test_nothing_a_client_says_leads_beyond_what_the_operator_said(
    alias: Any, key: Any, team: Any, client: Any, tier: Any
) -> None:
    metadata = [{"bsgateway": {"min_tier": low, "max_tier": high}} for low, high in (key, team)]
    headers = {"x-bsgateway-min-tier": client[0], "x-bsgateway-max-tier": client[1], "x-bsgateway-tier": tier}
    said = {name: value for name, value in headers.items() if value is not None}
    without = wisher(*WORDS).of(request(), route(0, *alias), *metadata)
    given = wisher(*WORDS).of(request(said), route(0, *alias), *metadata)
    low, high = (PLACES[name] or 0 for name in (given.min_tier, given.max_tier or "complex"))
    lowest, highest = (PLACES[name] or 0 for name in (without.min_tier, without.max_tier or "complex"))
    assert lowest <= low <= high <= highest
    highs = [PLACES[limits[1]] for limits in (alias, key, team) if limits[1] is not None]
    assert high <= min(highs, default=2)


# What the client wrote is not what the operator wrote


@pytest.mark.parametrize(
    "forged",
    [
        {"bsgateway": {"bias": 100}},
        {"user_api_key_metadata": {"bsgateway": {"bias": 100}}},
        {"user_api_key_team_metadata": {"bsgateway": {"bias": 100}}},
        {"user_api_key_auth": {"metadata": {"bsgateway": {"bias": 100}}}},
    ],
)
def test_metadata_of_the_body_is_not_that_of_the_key(forged: dict[str, Any]) -> None:
    assert wisher(*WORDS).of(request(None, **forged), PLAIN, {}, None) == Wishes()


def test_the_words_are_taken_out_of_every_request() -> None:
    data = request({"x-bsgateway-bias": "3"}, bsgateway_tier="simple", other=1)
    assert spoken(data) == {"tier": ("bsgateway_tier", "simple"), "bias": ("x-bsgateway-bias", "3")}
    assert data["metadata"] == {"user_id": "u", "other": 1}
    assert "x-bsgateway-bias" in data["proxy_server_request"]["headers"]  # LiteLLM's own, and not sent on


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"metadata": None},
        {"metadata": "bsgateway_tier", "proxy_server_request": None},
        {"metadata": [], "proxy_server_request": {"headers": None}},
        {"proxy_server_request": {"headers": ["x-bsgateway-tier"]}},
        {"proxy_server_request": "x-bsgateway-tier"},
    ],
)
def test_a_request_of_another_shape(data: dict[str, Any]) -> None:
    before = copy.deepcopy(data)
    assert wisher(*WORDS).of(data, PLAIN) == Wishes()
    assert data == before


# Mistakes of the operator in metadata


CALLER = Caller(key_hash="88dc28d0f030", key_alias="ci\n", team_id="team-1")


@pytest.mark.parametrize(
    ("section", "wrong", "expected"),
    [
        ({"bias": "much"}, "bias", Wishes()),
        ({"bias": 101, "max_tier": "simple"}, "bias", Wishes(max_tier="simple")),
        ({"bias": -5, "max_tier": "cheap"}, "max_tier (the lowest tier holds)", Wishes(bias=-5, max_tier="simple")),
        ({"min_tier": ["simple"]}, "min_tier", Wishes()),
        ({"tier": "simple"}, "tier", Wishes()),
        ("max_tier: simple", "all of it, which is no object", Wishes()),
        ([], "all of it, which is no object", Wishes()),
        ({f"k{number}": 1 for number in range(1000)}, "k0, k1, k2, k3, k4", Wishes()),
    ],
)
def test_a_mistake_in_metadata_is_left_out_and_said_once(
    section: Any, wrong: str, expected: Wishes, caplog: pytest.LogCaptureFixture
) -> None:
    made = wisher()
    for _ in range(3):
        assert made.of(request(), PLAIN, {"bsgateway": section}, None, CALLER) == expected
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"`bsgateway` in the metadata of key ci\\n 88dc28d0f030: ignored: {wrong}; "
        "it takes bias (-100 to 100), min_tier and max_tier (simple, medium, complex)"
    )
    made.of(request(), PLAIN, None, {"bsgateway": section}, CALLER)
    made.of(request(), PLAIN, {"bsgateway": section}, None, Caller(key_hash="other"))
    said = [record.getMessage().split(":")[0] for record in caplog.records[1:]]
    assert said == ["`bsgateway` in the metadata of team team-1", "`bsgateway` in the metadata of key other"]


def test_what_is_null_in_metadata_is_not_said(caplog: pytest.LogCaptureFixture) -> None:
    section = {"bias": None, "min_tier": None, "max_tier": None}
    assert wisher().of(request(), PLAIN, {"bsgateway": section}, {"bsgateway": None}, CALLER) == Wishes()
    assert caplog.records == []


def test_values_in_metadata_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    wisher().of(request(), PLAIN, {"bsgateway": {"bias": "sk-secret"}}, {"bsgateway": "sk-secret"})
    assert len(caplog.records) == 2
    assert "secret" not in caplog.text


def test_no_more_keys_are_remembered_than_so_many(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes_module, "MAX_REPORTED", 2)
    made = wisher()
    for key in ("a", "b", "c", "c", "a"):
        made.of(request(), PLAIN, {"bsgateway": 1}, None, Caller(key_hash=key))
    assert [record.getMessage().split()[6][0] for record in caplog.records] == ["a", "b", "c", "a"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*METADATA, "x"]), JSON),
    st.dictionaries(st.sampled_from([*HEADERS, "x"]), st.text()),
    JSON | st.dictionaries(st.sampled_from(["bias", "min_tier", "max_tier", "y"]), JSON),
)
def test_whatever_stands_there_nothing_is_raised(metadata: Any, headers: Any, section: Any) -> None:
    data = {"metadata": metadata, "proxy_server_request": {"headers": headers}}
    given = wisher(*WORDS).of(data, PLAIN, {"bsgateway": section}, {"bsgateway": section})
    assert -100 <= given.bias <= 100
    assert not data["metadata"].keys() & METADATA.keys()
    assert {given.tier, given.min_tier, given.max_tier} <= set(PLACES)
