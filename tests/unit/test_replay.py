"""`replay.py`: what it counts and what it costs, on requests whose decisions are known and on sessions of agents."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from bsgateway.cli import main
from bsgateway.errors import ReplayError
from bsgateway.gateway import Gateway, load
from bsgateway.replay import Line, Report, Summary, Way, read, replay
from bsgateway.replay_report import markdown, remarks
from sessions import aider, claude_code, codex, opencode

EASY = "hi"
HARD = (
    "Analyse the architecture step by step, find the root cause of the race condition, prove that the algorithm is "
    "correct, derive its complexity formally, and design a migration; consider every trade-off in depth."
)
AGENT = {"User-Agent": "claude-cli/2.1"}
Json = dict[str, Any]


def chat(*asks: str, **body: Any) -> Json:
    """A body with all of `asks`, each but the last one answered."""
    said = [
        each for ask in asks for each in ({"role": "user", "content": ask}, {"role": "assistant", "content": "Well."})
    ]
    return {"model": "auto", "messages": said[:-1], **body}


def line(*asks: str, at: float = 0.0, body: Json | None = None, **fields: Any) -> Line:
    return Line(session="s", body=chat(*asks) if body is None else body, at=at, **fields)


def replayed(gateway: Gateway, *lines: Line) -> Summary:
    return replay(gateway, lines).total


def test_a_local_llm_is_not_asked(make_gateway: Callable[..., Gateway]) -> None:
    asked = replay(make_gateway(classifier={"strategy": "llm", "llm": {"model": "tiny"}}), [line(EASY), line(HARD)])
    plain = replay(make_gateway(), [line(EASY), line(HARD)])
    assert (asked.total, asked.fallback, plain.fallback) == (plain.total, "static", None)
    assert "strategy llm: the local LLM is not asked here; its fallback, static, has scored all." in remarks(asked)


def priced(make_gateway: Callable[..., Gateway], **session: Any) -> Gateway:
    """Models whose prompt cache costs a tenth, so that a conversation has something to lose."""

    def model(name: str, dollars: float) -> Json:
        info = {
            "input_cost_per_token": dollars,
            "cache_read_input_token_cost": dollars / 10,
            "output_cost_per_token": 4 * dollars,
            "max_input_tokens": 1_000_000,
            "supports_function_calling": True,
        }
        return {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_key": "none"},
            "model_info": info,
        }

    models = [model("small", 1e-7), model("middle", 1e-6), model("large", 1e-5)]
    return make_gateway({"model_list": models}, session=session)


class TestSwitches:
    def test_an_easy_ask_after_a_hard_one(self, make_gateway: Callable[..., Gateway]) -> None:
        gateway = priced(make_gateway, horizon_turns=0)  # never down
        asks = [HARD, EASY, HARD, EASY]
        total = replayed(gateway, *(line(*asks[: end + 1], at=10.0 * end) for end in range(4)))
        assert (total.sticky.up, total.sticky.down, total.sticky.aside) == (0, 0, 0)
        assert (total.single.up, total.single.down, total.single.aside) == (1, 2, 0)
        assert total.conversations == 1

    def test_up_at_once(self, make_gateway: Callable[..., Gateway]) -> None:
        total = replayed(priced(make_gateway), line(EASY), line(EASY, HARD, at=10.0))
        assert (total.sticky.up, total.sticky.down) == (1, 0)

    def test_never_between_a_tool_call_and_its_answer(self, make_gateway: Callable[..., Gateway]) -> None:
        gateway = priced(make_gateway)
        call = {"id": "c", "type": "function", "function": {"name": "run", "arguments": "{}"}}
        step = [
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "1 failed"},
        ]
        tools = [{"type": "function", "function": {"name": "run", "parameters": {"type": "object"}}}]
        bodies = [chat("Find the bug.", tools=tools) for _ in range(16)]
        for steps, body in enumerate(bodies):
            body["messages"] = [*body["messages"], *step * steps]
        total = replayed(gateway, *(line(body=body, at=5.0 * number) for number, body in enumerate(bodies)))
        assert total.tool_turns == 15
        assert total.single.in_tool_loop == 1  # many steps make an ask a harder one
        assert total.sticky.in_tool_loop == total.sticky.switches == 0

    def test_a_model_that_cannot_hold_it_any_longer(self, gateway: Gateway) -> None:
        long = "word " * 9_000  # small holds 8,000 tokens
        call = {"id": "c", "type": "function", "function": {"name": "run", "arguments": "{}"}}
        said = [
            {"role": "user", "content": EASY},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": long},
        ]
        total = replayed(gateway, line(EASY), line(body={"model": "auto", "messages": said}, at=9.0))
        assert (total.sticky.up, total.sticky.forced, total.sticky.in_tool_loop) == (1, 1, 0)

    def test_threads_are_followed_apart(self, make_gateway: Callable[..., Gateway]) -> None:
        lines = [
            line(HARD, thread="one"),
            line(EASY, thread="two"),
            line(HARD, HARD, thread="one"),
            line(EASY, EASY, thread="two"),
        ]
        total = replayed(priced(make_gateway), *lines)
        assert (total.sticky.switches, total.single.switches, total.conversations) == (0, 0, 2)

    def test_a_conversation_is_forgotten_after_its_time(self, make_gateway: Callable[..., Gateway]) -> None:
        gateway = priced(make_gateway, horizon_turns=0, ttl_seconds=100)
        kept = replayed(gateway, line(HARD), line(HARD, EASY, at=100.0))
        assert kept.sticky.down == 0
        gone = replayed(gateway, line(HARD), line(HARD, EASY, at=101.0))
        assert gone.sticky.down == 1

    def test_the_same_words_begin_another_conversation(self, make_gateway: Callable[..., Gateway]) -> None:
        gateway = priced(make_gateway, horizon_turns=0)
        total = replayed(gateway, line(EASY), line(EASY, HARD, at=5.0), line(EASY, at=9.0, thread="another"))
        assert total.sticky.switches == 1
        assert total.sticky.cost == pytest.approx(total.single.cost)  # the last one is at the small model again

    def test_switched_off(self, make_gateway: Callable[..., Gateway]) -> None:
        gateway = priced(make_gateway, enabled=False)
        total = replayed(gateway, line(HARD), line(HARD, EASY, at=9.0), line(HARD, EASY, HARD, at=18.0))
        assert total.sticky == total.single
        assert total.sticky.switches == 2


class TestCosts:
    def test_input_and_output(self, gateway: Gateway) -> None:
        total = replayed(gateway, line(EASY, output_tokens=1000))
        tokens = gateway.decide(chat(EASY)).context_tokens
        assert tokens is not None
        assert total.sticky.cost == total.single.cost == pytest.approx(tokens * 1e-7 + 1000 * 4e-7)
        assert total.top_cost == pytest.approx(tokens * 1e-5 + 1000 * 4e-5)

    def test_output_that_is_not_known(self, gateway: Gateway) -> None:
        known, limited = replayed(gateway, line(EASY, output_tokens=500)), line(body=chat(EASY, max_tokens=7))
        assert replayed(gateway, line(EASY)).sticky.cost == known.sticky.cost
        assert replayed(gateway, limited).sticky.cost < known.sticky.cost

    @pytest.mark.parametrize(("pause", "cached"), [(299.0, True), (301.0, False)])
    def test_what_a_model_read_before_is_in_its_cache(
        self, make_gateway: Callable[..., Gateway], pause: float, cached: bool
    ) -> None:
        gateway = priced(make_gateway)
        lines = line(EASY, output_tokens=0), line(EASY, EASY, at=pause, output_tokens=0)
        first, second = (gateway.decide(each.body).context_tokens or 0 for each in lines)
        assert second > first > 0
        paid = first + (second - first + first / 10 if cached else second)
        assert replayed(gateway, *lines).single.cost == pytest.approx(paid * 1e-7)
        assert replayed(gateway, *lines).top_cost == pytest.approx(paid * 1e-5)

    def test_another_thread_is_not(self, make_gateway: Callable[..., Gateway]) -> None:
        gateway = priced(make_gateway)
        again = line(EASY, EASY, at=9.0, output_tokens=0)
        same = replayed(gateway, line(EASY, output_tokens=0), again)
        apart = replayed(gateway, line(EASY, output_tokens=0), msgspec.structs.replace(again, thread="b"))
        assert apart.sticky.cost > same.sticky.cost

    def test_a_model_without_a_price(self, make_gateway: Callable[..., Gateway]) -> None:
        models = [
            {"model_name": name, "litellm_params": {"model": "openai/of-our-own", "api_key": "none"}}
            for name in ("small", "middle", "large")
        ]
        report = replay(make_gateway({"model_list": models}), [line(EASY)])
        assert (report.total.sticky.unpriced, report.total.sticky.cost) == (1, 0)
        assert any("1 requests without a price" in each for each in remarks(report))

    def test_what_no_model_can_serve(self, gateway: Gateway) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
        report = replay(gateway, [line(body={"model": "auto", "messages": [{"role": "user", "content": [image]}]})])
        assert report.total.sticky.unserved == 1

    def test_a_name_that_is_served_as_asked(self, gateway: Gateway) -> None:
        total = replayed(gateway, line(body=chat(EASY, model="large"), output_tokens=0))
        assert total.sticky.cost == total.top_cost
        assert total.conversations == 0


class TestSideRequests:
    def test_they_leave_the_conversation_alone(self, make_gateway: Callable[..., Gateway]) -> None:
        gateway = priced(make_gateway, horizon_turns=0)
        title = line(body=chat(HARD, max_tokens=20), headers=AGENT, at=1.0, side=True)
        total = replayed(gateway, line(HARD, headers=AGENT, side=False), title, line(HARD, EASY, at=2.0))
        assert (total.side, total.side_labelled, total.side_right, total.side_wrong) == (1, 1, 1, 0)
        assert (total.sticky.switches, total.conversations) == (0, 1)

    def test_recall_and_precision(self, gateway: Gateway) -> None:
        found = line(body=chat(EASY, max_tokens=20), headers=AGENT, side=True)
        wrong, missed = msgspec.structs.replace(found, side=False), line(EASY, side=True)
        total = replayed(gateway, found, wrong, missed, msgspec.structs.replace(found, side=None))
        assert (total.side, total.recall, total.precision) == (3, 0.5, 0.5)
        assert replayed(gateway, line(EASY)).recall is replayed(gateway, line(EASY)).precision is None


class TestFiles:
    def write(self, path: Path, *lines: Any) -> Path:
        path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
        return path

    def test_lines(self, tmp_path: Path) -> None:
        path = self.write(
            tmp_path / "a", {"session": "s", "body": {"input": "x"}, "call_type": "aresponses", "more": 1}, " "
        )
        sizes: list[int] = []
        (found,) = read([path], sizes.append)
        assert found == Line("s", {"input": "x", "model": "auto"}, "aresponses")
        assert sum(sizes) == path.stat().st_size

    @pytest.mark.parametrize(
        ("bad", "said"),
        [
            ("{", "a:2: not a request"),
            ("[]", "a:2: not a request"),
            ({"session": "s"}, "a:2: not a request: .*body"),
            ({"body": {}}, "a:2: not a request: .*session"),
            ({"session": "s", "body": {}, "call_type": "aembedding"}, "a:2: call type 'aembedding' is not routed"),
            ({"session": "s", "body": {"model": 7}}, "a:2: the body's `model`"),
            ("\ud800", "a:2: not a request"),
        ],
    )
    def test_what_is_no_request(self, tmp_path: Path, bad: Any, said: str) -> None:
        path = tmp_path / "a"
        text = bad if isinstance(bad, str) else json.dumps(bad)
        path.write_bytes(b'{"session":"s","body":{}}\n' + text.encode("utf-8", "surrogatepass") + b"\n")
        with pytest.raises(ReplayError, match=said):
            list(read([path]))

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ReplayError, match="cannot be read"):
            list(read([tmp_path]))


class TestCommand:
    def run(self, config_file: Callable[..., Path], tmp_path: Path, *options: str) -> str:
        path = tmp_path / "requests.jsonl"
        lines = [line(EASY), line(EASY, HARD, at=5.0, side=False)]
        path.write_bytes(b"\n".join(msgspec.json.encode(each) for each in lines))
        result = CliRunner().invoke(main, ["replay", str(path), "--config", str(config_file()), *options])
        assert result.exit_code == 0, result.output
        return result.stdout

    def test_for_people(self, config_file: Callable[..., Path], tmp_path: Path) -> None:
        shown = self.run(config_file, tmp_path)
        assert "1 (+1 -0 =0)" in shown
        assert "all of it at large" in shown

    def test_for_machines(self, config_file: Callable[..., Path], tmp_path: Path) -> None:
        report = msgspec.json.decode(self.run(config_file, tmp_path, "--json"), type=Report)
        assert report.top_model == "large"
        assert report.total.requests == report.sessions[0].requests == 2
        assert report.total.sticky.up == 1

    def test_a_mistake_is_one_line(self, config_file: Callable[..., Path], tmp_path: Path) -> None:
        path = tmp_path / "bad"
        path.write_text("{")
        result = CliRunner().invoke(main, ["replay", str(path), "--config", str(config_file())])
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "bad:1: not a request" in result.stderr


def test_a_page(gateway: Gateway) -> None:
    page = markdown(replay(gateway, [line(EASY)]))
    rows = [row for row in page.splitlines() if row.startswith("|")]
    assert len(rows) == 4  # head, rule, the session, the total
    assert len({row.count("|") for row in rows}) == 1


def test_ways_add_up() -> None:
    assert Way(up=2, down=1, aside=3).switches == 6


@pytest.fixture(scope="module")
def report() -> Report:
    """The whole sessions of `make replay`, with three models of one provider."""
    gateway = load(Path(claude_code.__file__).with_name("anthropic.yaml"))
    lines = [each for module in (claude_code, codex, opencode, aider) for each in module.requests()]
    return replay(gateway, msgspec.convert(lines, list[Line]))


class TestWholeSessions:
    def test_there_is_much_to_decide(self, report: Report) -> None:
        assert [each.session for each in report.sessions] == ["claude-code", "codex", "opencode", "aider"]
        assert all(each.requests >= 20 for each in report.sessions)
        assert report.total.tool_turns > 80

    def test_every_thread_is_one_conversation(self, report: Report) -> None:
        # Claude Code: main, a sub-agent. Codex: main, review, and main after compaction. aider: before and after its
        # summary.
        assert [each.conversations for each in report.sessions] == [2, 3, 1, 2]

    def test_no_switch_in_a_tool_loop(self, report: Report) -> None:
        assert report.total.single.in_tool_loop > 0  # else this would show nothing
        assert report.total.sticky.in_tool_loop == 0

    def test_fewer_switches(self, report: Report) -> None:
        assert report.total.sticky.switches < report.total.single.switches

    def test_all_side_requests_are_recognised_and_nothing_else(self, report: Report) -> None:
        assert report.total.side_labelled > 15
        assert (report.total.recall, report.total.precision) == (1.0, 1.0)

    def test_it_costs_less_than_the_top_tier(self, report: Report) -> None:
        for each in report.sessions:
            assert 0 < each.sticky.cost < each.top_cost
        assert report.total.sticky.unpriced == report.total.sticky.unserved == 0

    def test_the_total_is_the_sum(self, report: Report) -> None:
        for name in ("requests", "conversations", "side", "tool_turns", "top_cost"):
            assert getattr(report.total, name) == pytest.approx(sum(getattr(each, name) for each in report.sessions))
        assert report.total.sticky.cost == pytest.approx(sum(each.sticky.cost for each in report.sessions))
