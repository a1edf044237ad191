"""Hostile configurations: the operator's own file, but perhaps not written by the operator."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bsgateway.check import check_file, check_text
from bsgateway.cli import main
from bsgateway.effective import effective_config

FILES = sorted((Path(__file__).parent / "configs").glob("*.yaml"))
LIMIT = 10.0  # seconds: a bound against what grows without one, not a measurement
GOOD = "model_list: [{model_name: m, litellm_params: {model: openai/x}}]\n"
ROUTING = "routing: {tiers: {only: {score_range: [0, 100], model: m}}, fallback_tier: only}\n"


def wanted(path: Path) -> bool:
    """Whether the first line of the file expects it to be without mistakes."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert "Expected: " in first
    return first.endswith("Expected: no mistakes.")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    began = time.monotonic()
    config, problems = check_file(path)
    good = wanted(path)
    assert (config is not None) is good
    assert bool(problems) is not good
    for problem in problems:
        assert problem.render(str(path)).isprintable()
    result = CliRunner().invoke(main, ["check", str(path)])
    assert result.exit_code == (0 if good else 1)
    assert CliRunner().invoke(main, ["check", "--json", str(path)]).exit_code == result.exit_code
    assert "hunter2secret" not in result.output
    assert "\x1b" not in result.output
    if config is not None:
        printed = CliRunner().invoke(main, ["check", "--print", str(path)])
        assert printed.exit_code == 0
        assert len(printed.output) < 20_000
        assert effective_config(config)["router_settings"]["num_retries"] == 0
    assert time.monotonic() - began < LIMIT
    assert list(tmp_path.iterdir()) == []  # nothing was run


def test_merged_keys_are_the_ones_yaml_means() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {x: 2}\nc: {<<: [*a, *b], y: 3}\nd: {x: 4, <<: *a}\n"
    config, _ = check_text(GOOD + ROUTING + text, Path("x"))
    assert config is not None
    expected = yaml.safe_load(text)
    assert expected["c"] == {"x": 1, "y": 3}
    assert {key: config.host[key] for key in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "? " * 100_000,
        "a:\n" + "".join(f"{' ' * depth}- \n" for depth in range(1_000)),
        GOOD + ROUTING + "x: " + "[" * 100_000,
        GOOD + ROUTING + "x: " + "[" * 470 + "]" * 470,
        GOOD + ROUTING + "x: " + "{a: " * 470 + "1" + "}" * 470,
        GOOD + ROUTING.replace("{only: {", "{" + "'a': {" * 470),
        '"' + "a" * 1_000_000,
        "a: " + "&a " * 10_000,
        "a: |\n" + " x\n" * 100_000,
        "# " + "x" * 1_000_000,
        "\n" * 100_000,
        "a: " + "9" * 1_000_000,
        "a: !!float " + "1:" * 10_000 + "0",
        "%YAML 1.1\n" * 1_000,
        "%TAG ! tag:x,2000:\n---\n!y z",
        "a: !!timestamp 0000-00-00",
        "a: " + "\u00e9" * 300_000,
        "\x00",
        "\ud800",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_texts(text: str) -> None:
    began = time.monotonic()
    config, problems = check_text(text, Path("gateway.yaml"))
    assert (config is None) == bool(problems)
    assert time.monotonic() - began < LIMIT


@pytest.mark.parametrize("size", [400])
def test_many_of_everything(size: int) -> None:
    text = "model_list:\n" + "".join(
        f"  - {{model_name: m{index}, litellm_params: {{model: openai/x{index}}}}}\n" for index in range(size)
    )
    text += "routing:\n  tiers: {only: {score_range: [0, 100], models: [" + ", ".join(
        f"m{index}" for index in range(size)
    )  # fmt: skip
    text += "]}}\n  fallback_tier: only\n  aliases:\n"
    text += "".join(f"    a{index}: a{index + 1}\n" for index in range(size - 1)) + f"    a{size - 1}: auto_route\n"
    text += "  auto_route_patterns: [" + ", ".join(f"p{index}-*" for index in range(size)) + "]\n"
    began = time.monotonic()
    config, problems = check_text(text, Path("gateway.yaml"))
    assert problems == []
    assert config is not None
    assert len(config.model_names) == size
    # As many mistakes, each with a hint.
    config, problems = check_text(text.replace("m", "n").replace("nodel", "model").replace("openai/x", ""), Path("x"))
    assert config is None
    assert problems
    assert time.monotonic() - began < LIMIT
