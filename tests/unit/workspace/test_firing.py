"""What a schedule does at its moment, where it meets a fault of ours: it fails alone."""

import logging
from typing import Any

from headrace.storage.schedules import Firing
from headrace.testing.clock import TurnedClock
from headrace.workspace.firing import LOOK_S, Firings


class Faulty(Firings):
    """Raises where it would go on with one, and where it would look."""

    def __init__(self) -> None:
        nothing: Any = None
        super().__init__(
            runs=nothing,
            archive=nothing,
            clock=TurnedClock(),
            new_id=nothing,
            sign=nothing,
            house=nothing,
            lock=nothing,
            process=1,
            skipped=nothing,
            log=logging.getLogger("fired"),
        )
        self.marked: list[tuple[str, str]] = []

    async def look(self) -> float:
        raise RuntimeError("ours")

    async def _go_on(self, firing: Firing) -> None:
        raise RuntimeError("ours")

    async def _mark(self, firing: Firing, state: Any, says: str) -> None:
        self.marked.append((state, says))


async def test_a_fault_of_ours_is_one_moments_end_and_not_the_servers(caplog):
    faulty = Faulty()
    await faulty._see_to(Firing(schedule="sched_1", due=1, run="run_1", state="begun", says="", changed=0))
    assert faulty.marked == [("failed", "It failed; the server's log tells why.")]
    assert "sched_1" in caplog.text
    assert await faulty._looked() == LOOK_S
