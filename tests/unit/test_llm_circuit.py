"""The circuit breaker of the local LLM."""

from __future__ import annotations

import logging

import pytest

from bsgateway.classifiers.llm.circuit import FIRST_PAUSE, LAST_PAUSE, Circuit, CircuitState
from bsgateway.decision import LlmStatus

TIMEOUT, UNREACHABLE = LlmStatus.TIMEOUT, LlmStatus.UNREACHABLE


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def make(open_after: int = 3) -> Circuit:
    return Circuit("qwen3:0.6b", open_after, Clock())


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    return [record.getMessage() for record in caplog.records]


class ProbeFailed(Exception):
    pass


def test_it_opens_after_failures_in_a_row() -> None:
    circuit = make()
    for kind in (TIMEOUT, UNREACHABLE):
        circuit.failed(kind)
    assert circuit.is_closed
    circuit.succeeded()
    for kind in (TIMEOUT, LlmStatus.NO_MODEL):
        circuit.failed(kind)
    assert circuit.is_closed
    circuit.failed(LlmStatus.BAD_ANSWER)
    assert circuit.state is CircuitState.OPEN


def test_only_a_probe_closes_it() -> None:
    circuit = make(1)
    circuit.failed(TIMEOUT)
    circuit.succeeded()
    assert circuit.state is CircuitState.OPEN
    with circuit.probe():
        assert circuit.state is CircuitState.HALF_OPEN
        assert not circuit.is_closed
        circuit.succeeded()  # late, of a request from before
        circuit.failed(TIMEOUT)
        assert circuit.state is CircuitState.HALF_OPEN
    assert circuit.is_closed


def test_failures_of_before_do_not_count_after_a_probe() -> None:
    circuit = make(2)
    circuit.failed(TIMEOUT)
    circuit.failed(TIMEOUT)
    with circuit.probe():
        pass
    circuit.failed(TIMEOUT)
    assert circuit.is_closed


def test_a_probe_that_fails_opens_it_again() -> None:
    circuit = make(1)
    circuit.failed(TIMEOUT)
    with pytest.raises(ProbeFailed), circuit.probe():
        raise ProbeFailed
    assert circuit.state is CircuitState.OPEN


def test_pauses_grow_up_to_a_bound_and_begin_anew() -> None:
    circuit = make(1)

    def pauses(count: int) -> list[float]:
        circuit.failed(TIMEOUT)
        found = []
        for _ in range(count):
            found.append(circuit.pause())
            with pytest.raises(ProbeFailed), circuit.probe():
                raise ProbeFailed
        return found

    whole = [min(LAST_PAUSE, FIRST_PAUSE * 2**number) for number in range(12)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses(12), whole, strict=True))
    with circuit.probe():
        pass
    circuit.succeeded()
    assert pauses(1)[0] <= FIRST_PAUSE


def test_a_model_that_answers_nothing_but_probes_is_left_alone_for_longer_each_time() -> None:
    circuit = make(1)
    pauses = []
    for _ in range(8):
        circuit.failed(TIMEOUT)
        pauses.append(circuit.pause())
        with circuit.probe():
            pass
        assert circuit.is_closed
    whole = [min(LAST_PAUSE, FIRST_PAUSE * 2**number) for number in range(8)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, whole, strict=True))


def test_it_says_once_that_it_opens_and_once_that_it_closes(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    circuit = Circuit("qwen3:0.6b", 2, clock)
    for _ in range(10):
        circuit.failed(UNREACHABLE)
    circuit.trip(TIMEOUT)
    assert messages(caplog) == [
        "the local LLM qwen3:0.6b is left alone until it answers a probe: unreachable; `bsgateway doctor` says what to "
        "do"
    ]
    clock.now += 12.5
    with pytest.raises(ProbeFailed), circuit.probe():
        raise ProbeFailed
    assert len(messages(caplog)) == 1
    with circuit.probe():
        pass
    circuit.succeeded()
    assert messages(caplog)[1:] == ["the local LLM qwen3:0.6b answers again, after 12.5 s"]


def test_it_can_be_opened_at_once() -> None:
    circuit = make(1_000)
    circuit.trip(LlmStatus.NO_MODEL)
    assert circuit.state is CircuitState.OPEN


def test_the_next_one_goes_on_from_there(caplog: pytest.LogCaptureFixture) -> None:
    former = make(3)
    former.failed(TIMEOUT)
    former.failed(TIMEOUT)
    circuit = make(3)
    circuit.follow(former)
    circuit.failed(TIMEOUT)
    assert circuit.state is CircuitState.OPEN
    with circuit.probe():
        following = make(3)
        following.follow(circuit)  # the probe is not its own
        assert following.state is CircuitState.OPEN
    assert len(messages(caplog)) == 2
