"""Turns, and calls that several wait for: with any requests at any times, and a model that does as it likes."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.classifiers import Classification
from bsgateway.classifiers.llm import Request, Verdict, calls, classifier
from bsgateway.classifiers.llm.calls import Call, Calls
from bsgateway.classifiers.llm.classifier import LlmClassifier
from bsgateway.classifiers.llm.target import Target
from bsgateway.classifiers.llm.turnstile import Turn, Turnstile
from bsgateway.config import Llm, Tier
from bsgateway.decision import LlmStatus, Strategy
from bsgateway.ollama_server import ServerError
from virtual_time import run

TIERS = {"simple": Tier((0, 30), model="small"), "complex": Tier((31, 100), model="large")}
VERDICT = Verdict(LlmStatus.ASKED, Classification(Strategy.LLM, 15.0, ()), "simple", 1.0, "model", "1-00000000")
MOMENT = 1e-6


async def test_turns_are_taken_in_order() -> None:
    turnstile, came = Turnstile(1, 3), []

    async def take(number: int) -> None:
        turn = turnstile.enter()
        assert turn is not None
        try:
            await turn.come()
            came.append(number)
            await asyncio.sleep(0)
        finally:
            turnstile.leave(turn)

    await asyncio.gather(*map(take, range(4)))
    assert came == [0, 1, 2, 3]
    assert (turnstile.inside, turnstile.waiting) == (0, 0)


async def test_no_more_wait_than_may() -> None:
    turnstile = Turnstile(2, 1)
    turns = [turnstile.enter() for _ in range(4)]
    assert [turn is not None for turn in turns] == [True, True, True, False]
    assert (turnstile.inside, turnstile.waiting) == (2, 1)


def given_turn(turnstile: Turnstile) -> Turn:
    turn = turnstile.enter()
    assert turn is not None
    return turn


async def test_a_turn_given_to_one_that_was_cancelled_is_passed_on() -> None:
    """At every moment: before its turn, when it was called and has not noticed, and both at once."""
    for order in ("cancel", "call", "cancel call", "call cancel"):
        turnstile = Turnstile(1, 2)
        first, second, third = (given_turn(turnstile) for _ in range(3))
        task = asyncio.ensure_future(second.come())
        await asyncio.sleep(0)
        for step in order.split():
            if step == "call":
                turnstile.leave(first)
            else:
                task.cancel()
        await asyncio.wait([task])
        turnstile.leave(second)
        turnstile.leave(first)
        await third.come()
        assert (turnstile.inside, turnstile.waiting) == (1, 0), order
        turnstile.leave(third)
        turnstile.leave(third)
        assert turnstile.inside == 0


class Arrival(NamedTuple):
    """A request: when it comes, what it asks, how long it waits, and when its client hangs up, if it does."""

    at: float
    ask: int
    patience: float
    hangs_up: float | None


class Plan(NamedTuple):
    """How the model answers the n-th question: after so many seconds, with a verdict or an error."""

    seconds: float
    kind: str


TIMES = st.integers(0, 40).map(lambda number: number / 10)
ARRIVALS = st.lists(st.builds(Arrival, TIMES, st.integers(0, 4), TIMES, st.none() | TIMES), min_size=1, max_size=25)
PLANS = st.lists(
    st.builds(
        Plan,
        st.sampled_from((0.0, 0.1, 0.3, 1.0, 3.0, 1e6)),
        st.sampled_from(("verdict", "error", "bug", "bad_answer")),
    ),
    min_size=1,
    max_size=8,
)


class FakeModel:
    """In the place of the model and its server: answers by plan, and watches who is with it."""

    def __init__(self, plans: list[Plan]) -> None:
        self.scope = ""
        self.plans = plans
        self.asked = 0
        self.asked_at = 0.0
        self.usual_seconds = 0.3
        self.inside: Counter[str] = Counter()
        self.connections = 0
        self.most = 0
        self.violations: list[str] = []
        self.wakes = True
        self.there: list[tuple[float, float, str]] = []
        """When each request came, when it leaves at the latest, and what it asks."""

    async def wake(self) -> None:
        await asyncio.sleep(0)
        if not self.wakes:
            raise ServerError("error", 500)
        self.wakes = False  # a circuit that opens stays so

    async def close(self) -> None:
        assert not self.connections

    async def ask(self, request: Request) -> Verdict:
        plan = self.plans[self.asked % len(self.plans)]
        self.asked += 1
        self.inside[request.ask] += 1
        if self.inside[request.ask] > 1:
            self.violations.append("the same was asked twice at once")
        self.connections += 1
        self.most = max(self.most, self.connections)
        try:
            await asyncio.sleep(plan.seconds)
        except asyncio.CancelledError:
            now = asyncio.get_running_loop().time()
            waits = [ask for came, leaves, ask in self.there if ask == request.ask and came < now < leaves - MOMENT]
            if waits:
                self.violations.append("someone still waited for the answer")
            raise
        finally:
            self.inside[request.ask] -= 1
            try:
                await asyncio.sleep(0)  # a connection takes a while to close
            finally:
                self.connections -= 1
        if plan.kind == "error":
            raise ServerError("error", 500)
        if plan.kind == "bug":
            raise KeyError("words of the user")
        return VERDICT if plan.kind == "verdict" else Verdict(LlmStatus.BAD_ANSWER)


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines are on the clock of the loop."""
    clock = SimpleNamespace(perf_counter=lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr(calls, "time", clock)
    monkeypatch.setattr(classifier, "time", clock)


def make(chosen: Llm, plans: list[Plan]) -> tuple[LlmClassifier, FakeModel]:
    """A classifier with a model that answers by plan."""
    model = FakeModel(plans)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "Model", lambda *_: model)
        return LlmClassifier(chosen, Target("m", None), TIERS), model


async def play(made: LlmClassifier, model: FakeModel, arrivals: list[Arrival]) -> list[LlmStatus | None]:
    """What came of each request; None where its client hung up."""
    loop = asyncio.get_running_loop()

    async def one(arrival: Arrival) -> LlmStatus | None:
        await asyncio.sleep(arrival.at)
        began = loop.time()
        leaves = began + min(arrival.patience, 1e9 if arrival.hangs_up is None else arrival.hangs_up)
        model.there.append((began, leaves, f"ask {arrival.ask}"))
        task = asyncio.ensure_future(made.verdict(Request(f"ask {arrival.ask}"), began + arrival.patience))
        if arrival.hangs_up is not None:
            loop.call_later(arrival.hangs_up, task.cancel)
        await asyncio.wait([task])
        assert loop.time() <= leaves + MOMENT
        model.there.remove((began, leaves, f"ask {arrival.ask}"))
        return None if task.cancelled() else task.result().status

    running = asyncio.ensure_future(made.run())
    await made.tried()
    found = await asyncio.gather(*map(one, arrivals))
    for _ in range(10):
        await asyncio.sleep(0)
    stats = made.stats()
    assert (stats.in_flight, stats.waiting, model.connections) == (0, 0, 0)
    assert not model.violations
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()
    return found


@settings(max_examples=150, deadline=None)
@given(arrivals=ARRIVALS, plans=PLANS, places=st.integers(1, 3), queue=st.integers(0, 3), memo=st.booleans())
def test_any_requests_at_any_time(
    arrivals: list[Arrival], plans: list[Plan], places: int, queue: int, memo: bool
) -> None:
    chosen = Llm(model="m", max_concurrent=places, max_waiting=queue, memo_entries=10 if memo else 0, open_after=1_000)

    async def main() -> None:
        made, model = make(chosen, plans)
        found = await play(made, model, arrivals)
        assert model.most <= places
        statuses = Counter(status for status in found if status is not None)
        assert made.stats().statuses == {status.value: count for status, count in statuses.items()}
        possible = {LlmStatus.ASKED, LlmStatus.TIMEOUT, LlmStatus.BUSY, LlmStatus.ERROR, LlmStatus.FAILED}
        assert set(statuses) <= possible | {LlmStatus.BAD_ANSWER} | ({LlmStatus.KNOWN} if memo else set())

    run(main())


def answer(arrivals: list[Arrival], plans: list[Plan], **chosen: Any) -> tuple[list[LlmStatus | None], int]:
    """What came of the requests, and how many questions were asked."""

    async def main() -> tuple[list[LlmStatus | None], int]:
        made, model = make(Llm(**{"model": "m", "memo_entries": 0, **chosen}), plans)
        return await play(made, model, arrivals), model.asked

    return run(main())


ASKED, TIMEOUT, BUSY = LlmStatus.ASKED, LlmStatus.TIMEOUT, LlmStatus.BUSY


def test_equal_asks_are_asked_once() -> None:
    found = answer([Arrival(0.1 * number, 0, 3.0, None) for number in range(9)], [Plan(1.0, "verdict")])
    assert found == ([ASKED] * 9, 1)


def test_who_joins_gets_the_answer_after_the_first_has_run_out_of_time() -> None:
    found = answer([Arrival(0.0, 0, 0.5, None), Arrival(0.3, 0, 1.5, None)], [Plan(1.0, "verdict")])
    assert found == ([TIMEOUT, ASKED], 1)


def test_who_joins_gets_the_answer_after_the_first_has_hung_up() -> None:
    found = answer([Arrival(0.0, 0, 3.0, 0.5), Arrival(0.3, 0, 1.5, None)], [Plan(1.0, "verdict")])
    assert found == ([None, ASKED], 1)


def test_who_comes_when_the_last_has_left_asks_anew() -> None:
    found = answer(
        [Arrival(0.0, 0, 0.5, None), Arrival(0.5, 0, 3.0, None)], [Plan(1e6, "verdict"), Plan(0.1, "verdict")]
    )
    assert found == ([TIMEOUT, ASKED], 2)


async def test_a_call_that_takes_long_to_end_leaves_its_successor_alone() -> None:
    shared, ended = Calls(lambda _: None), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def stubborn(_: Call) -> Verdict:
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            raise
        return VERDICT

    async def quick(_: Call) -> Verdict:
        await ended.wait()
        await asyncio.sleep(0.01)
        return VERDICT

    shared.start("key", stubborn, ended.set)
    assert await shared.answer("key", loop.time()) is None
    assert "key" not in shared
    shared.start("key", quick, lambda: None)
    first = asyncio.ensure_future(shared.answer("key", loop.time() + 30))
    await ended.wait()
    assert "key" in shared
    assert await asyncio.gather(first, shared.answer("key", loop.time() + 30)) == [VERDICT] * 2
    await shared.ended()


def test_a_failure_is_that_of_all_who_wait() -> None:
    assert answer([Arrival(0.0, 0, 3.0, None)] * 3, [Plan(1.0, "error")]) == ([LlmStatus.ERROR] * 3, 1)


def test_more_than_may_wait_are_told_at_once() -> None:
    arrivals = [Arrival(0.0, number, 3.0, None) for number in range(6)]
    found, asked = answer(arrivals, [Plan(1.0, "verdict")], max_concurrent=2, max_waiting=2)
    assert (Counter(found), asked) == (Counter({ASKED: 4, BUSY: 2}), 4)


def test_who_could_not_be_answered_any_more_does_not_use_up_the_time_of_others() -> None:
    """A verdict usually takes 0.3 s: the second has 0.2 s left at its turn, the third a whole second."""
    arrivals = [Arrival(0.0, 0, 3.0, None), Arrival(0.1, 1, 1.1, None), Arrival(0.2, 2, 1.8, None)]
    found, asked = answer(arrivals, [Plan(1.0, "verdict"), Plan(0.9, "verdict")], max_concurrent=1)
    assert (found, asked) == ([ASKED, TIMEOUT, ASKED], 2)


def test_nobody_waits_whose_time_is_up_already() -> None:
    assert answer([Arrival(0.0, 0, 0.0, None)], [Plan(0.0, "verdict")]) == ([TIMEOUT], 0)


def opened(arrivals: list[Arrival], plans: list[Plan], **chosen: Any) -> list[LlmStatus | None]:
    """What came of the requests where one failure opens the circuit."""
    return answer(arrivals, plans, open_after=1, **chosen)[0]


LATER = Arrival(2.0, 9, 3.0, None)


@pytest.mark.parametrize(
    "arrivals",
    [
        pytest.param([Arrival(0.0, 0, 0.5, None)], id="for the only one"),
        pytest.param([Arrival(0.0, 0, 0.5, None), Arrival(0.3, 0, 3.0, 0.7)], id="for one of two, then the other left"),
    ],
)
def test_a_call_that_ran_out_of_time_counts(arrivals: list[Arrival]) -> None:
    found = opened([*arrivals, LATER], [Plan(1e6, "verdict")])
    assert found[0] is TIMEOUT
    assert found[-1] is LlmStatus.OPEN


@pytest.mark.parametrize(
    "arrivals",
    [
        pytest.param([Arrival(0.0, 0, 3.0, 1.9)], id="its client hung up"),
        pytest.param([Arrival(0.0, 0, 3.0, 1.9), Arrival(0.1, 1, 0.5, None)], id="it has only waited for its turn"),
        pytest.param([Arrival(0.0, 0, 3.0, 1.9)] + [Arrival(0.1, number, 3.0, 0.5) for number in range(20)], id="busy"),
    ],
)
def test_what_does_not_count(arrivals: list[Arrival]) -> None:
    plans = [Plan(1e6, "verdict"), Plan(0.1, "verdict")]
    assert opened([*arrivals, LATER], plans, max_concurrent=1, max_waiting=1)[-1] is ASKED
