"""When the circuit lets an attempt through."""

from __future__ import annotations

from services.kernel.circuit import Circuit


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(time: Time) -> Circuit:
    circuit = Circuit(failures_max=2, open_seconds=2.0, monotonic=time)
    circuit.failed()
    assert circuit.allows()
    circuit.failed()
    return circuit


def test_it_opens_after_failures_in_a_row_only() -> None:
    circuit = Circuit(failures_max=2, open_seconds=2.0, monotonic=Time())

    for _ in range(3):
        circuit.failed()
        circuit.succeeded()
    assert circuit.allows()

    circuit.failed()
    circuit.failed()
    assert not circuit.allows()


def test_after_the_pause_one_attempt_passes_and_decides() -> None:
    time = Time()
    circuit = opened(time)

    time.now += 2.0
    assert [circuit.allows() for _ in range(3)] == [True, False, False]
    circuit.failed()
    time.now += 1.9
    assert not circuit.allows()

    time.now += 0.1
    assert circuit.allows()
    circuit.succeeded()
    assert circuit.allows()


def test_an_attempt_that_never_reports_does_not_keep_it_open() -> None:
    time = Time()
    circuit = opened(time)
    time.now += 2.0
    assert circuit.allows()

    time.now += 2.0
    assert circuit.allows()
