"""The documents say what the code does: the reference page is made from it, the README's examples run."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from bsgateway import wishes
from bsgateway.check import check_text
from bsgateway.config import Llm, Session
from bsgateway.decision import Decision, LlmStatus, Method, Reason
from bsgateway.expectations import DAYS, LEAST_ANSWERS, MOST_DECISIONS
from bsgateway.headers import HEADERS
from bsgateway.log.metrics import CAUSES, Metrics
from bsgateway.log.pipeline import EXPECT_SECONDS
from bsgateway.models import prior_bytes
from bsgateway.names import Names
from bsgateway.policy import EXPECTED_OUTPUT_TOKENS
from bsgateway.rows import COMPARISON_COLUMNS, LOG_COLUMNS, OUTCOME_COLUMNS, TEXT_COLUMNS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROUTING = (ROOT / "docs" / "routing.md").read_text(encoding="utf-8")
LEARNING = (ROOT / "docs" / "learning.md").read_text(encoding="utf-8")
LLM = (ROOT / "docs" / "llm.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def script(path: Path) -> ModuleType:
    """A script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return script(ROOT / "docs" / "make_reference.py")


def test_the_performance_section_is_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benches")  # for what the script imports from beside it
    pages = script(ROOT / "benches" / "pages.py")
    results = pages.load()
    assert pages.with_section(README, pages.performance(results)) == README, "run `make performance`"
    for name, page in (("analyze.md", pages.analyze_page), ("budgets.md", pages.budgets_page)):
        assert (pages.RESULTS / name).read_text(encoding="utf-8") == page(results), "run `make performance`"


def test_the_table_of_faults_is_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benches")
    faults = script(ROOT / "benches" / "faults.py")
    results = json.loads((faults.RESULTS / "faults.json").read_text(encoding="utf-8"))
    document = faults.DOCS.read_text(encoding="utf-8")
    assert faults.with_section(document, faults.section(results)) == document, "run `make faults`"
    assert (faults.RESULTS / "faults.md").read_text(encoding="utf-8") == faults.page(results)
    assert all(fault["passed"] for fault in results["faults"])


def test_the_table_of_quality_is_what_was_measured() -> None:
    quality = script(ROOT / "benches" / "quality_section.py")
    section = quality.section(quality.PAGE.read_text(encoding="utf-8"))
    assert quality.with_section(README, section) == README, "run `python benches/quality_section.py`"
    assert "| chance | 0.500 | 0.500 |" in section
    assert "| prompt length | 0." in section


def test_the_table_of_quality_says_what_misses() -> None:
    quality = script(ROOT / "benches" / "quality_section.py")
    page = """\
| APGR | a | mmlu | mean |
|---|---|---|---|
| prior | 0.454 (0.421-0.489) | 0.601 (0.583-0.618) | 0.528 |
| static | 0.600 (0.5-0.7) | 0.590 (0.5-0.7) | 0.595 |
| length | 0.534 (0.493-0.565) | 0.585 (0.569-0.604) | 0.560 |
| 300 labels | 0.570 (0.544-0.597) | - | 0.570 |
"""
    section = quality.section(page)
    assert "| 300 labels | 0.570 (of 1) | - |" in section
    assert "The prior is below prompt length on 1 of the pools: a (0.454)." in section
    assert "The static score" not in section
    assert "A model of 300 labels" not in section
    assert "The static score (0.495) is below" in quality.section(page.replace("0.595", "0.495"))


def test_what_is_said_of_the_prior_is_what_it_says_of_itself() -> None:
    prior = script(ROOT / "benches" / "prior_section.py")
    said = prior.with_section(LEARNING, prior.section(prior_bytes()))
    assert said == LEARNING, "run `python benches/prior_section.py`"


def test_the_reference_page_is_what_the_code_says(generator: ModuleType) -> None:
    assert generator.page() == PAGE, "run `make reference` and commit the page"


@pytest.mark.parametrize("column", sorted({*LOG_COLUMNS, *OUTCOME_COLUMNS, *TEXT_COLUMNS, *COMPARISON_COLUMNS}))
def test_every_column_is_in_the_reference(column: str) -> None:
    assert f"| `{column}` |" in PAGE


@pytest.mark.parametrize("word", [*HEADERS, *(each.value for words in (Method, Reason, LlmStatus) for each in words)])
def test_every_header_method_and_reason_is_in_the_reference(word: str) -> None:
    assert f"| `{word}` |" in PAGE


@pytest.mark.parametrize("word", [*Metrics.__struct_fields__, *CAUSES])
def test_every_metric_and_cause_is_in_the_reference(word: str) -> None:
    assert f"| `{word}` |" in PAGE


def test_every_cause_that_the_code_counts_is_in_the_reference() -> None:
    package = ROOT / "python" / "bsgateway"
    files = {package / "lifecycle.py", *(package / "log").glob("*.py")} - {package / "log" / "metrics.py"}
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    assert set(re.findall(r'drop\("(\w+)"', text)) <= set(CAUSES)
    assert [cause for cause in CAUSES if f'"{cause}"' not in text] == []


def test_every_header_is_in_the_readme() -> None:
    assert re.findall(r"^\| `(x-bsgateway-[a-z-]+)`", README, re.MULTILINE) == list(HEADERS)


def test_the_python_example_in_the_readme_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(import bsgateway\n.*?)```", README, re.DOTALL)
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    decision = names["decision"]
    assert isinstance(decision, Decision)
    assert capsys.readouterr().out == "gpt-5-mini medium 35\n"


# docs/routing.md


@pytest.mark.parametrize("word", [reason.value for reason in Reason])
def test_routing_explains_every_reason(word: str) -> None:
    assert f"`{word}`" in ROUTING


def test_routing_says_what_the_code_does() -> None:
    for said in (
        f"at least {LEAST_ANSWERS} answers of the last\n{DAYS} days",
        f"the newest {MOST_DECISIONS:,} decisions; before there are so many: {EXPECTED_OUTPUT_TOKENS} tokens",
        "The log is asked every ten minutes",
    ):
        assert said in ROUTING
    assert EXPECT_SECONDS == 600
    options = set(re.findall(r"`(\w+)(?:`|: )", ROUTING))
    assert {*Session.__struct_fields__} - {"enabled"} <= options
    assert {"mode", "canary", "client_overrides", "unknown_models", "fallback_tier"} <= options
    headers = set(re.findall(r"x-bsgateway-[a-z-]+", ROUTING))
    assert headers <= {*HEADERS, *wishes.HEADERS}


def test_routing_shows_metadata_and_aliases_that_work() -> None:
    (metadata,) = re.findall(r"`(\{\"bsgateway\".*?\}\})`", ROUTING)
    (alias,) = re.findall(r"alias: `(\{.*?\})`", ROUTING)
    text = (ROOT / "gateway.yaml").read_text(encoding="utf-8").replace("auto: auto_route", f"auto: {alias}")
    config, problems = check_text(text, ROOT / "gateway.yaml")
    assert problems == []
    assert config is not None
    route = Names(config).resolve("auto", lambda _: False)
    given = wishes.Wisher(config.routing).of({}, route, json.loads(metadata))
    assert given == wishes.Wishes(bias=-25, max_tier="medium")


# docs/learning.md


# docs/llm.md


def yaml_examples(page: str) -> list[str]:
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert examples
    return examples


def test_llm_says_what_to_do_for_every_status() -> None:
    assert re.findall(r"^\| `(\w+)` \|", LLM, re.MULTILINE) == [status.value for status in LlmStatus]


def test_llm_has_every_option() -> None:
    said = set(re.findall(r"`(\w+)(?:`|: )", LLM)) | set(re.findall(r"(\w+): ", "".join(yaml_examples(LLM))))
    assert set(Llm.__struct_fields__) <= said
