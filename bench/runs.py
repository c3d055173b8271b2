"""What a run of an agent costs beside its model: an event written, a decision, going on with a long run, a command confined.

    make bench-runs

Wall time, the least of some rounds, since the machine is shared; events are of 300 bytes.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.machine import machine, tell
from headrace.agents import Budget, Call, Grant, Turn
from headrace.agents.events import Intended, ModelSaid, PersonSaid, Returned
from headrace.agents.mandate import KEY_BYTES, Mandate, grant_with, sealed
from headrace.agents.tools import CARDS
from headrace.core.clock import SECOND
from headrace.sandbox import Draft, Limits, run, try_level
from headrace.storage import RunLog, ScheduleStore, connect
from headrace.testing.clock import TurnedClock
from headrace.workspace import Keeper, new_schedule

EVENTS = 1_000
EVENT = Returned("c", "x" * 250)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=5)
    rounds = ask.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        figures = _figures(Path(folder), rounds)
    rows = [(name.rpartition("_")[0].replace("_", " "), value, name.rpartition("_")[2]) for name, value in figures.items()]
    tell(machine("headrace", "msgspec"), ("what", "value", "unit"), rows, figures)


def _figures(folder: Path, rounds: int) -> dict[str, float]:
    events = _a_long_run()
    turn = Turn(CARDS)
    for event in events:
        turn.add(event)
    fetch = Call("x", "fetch", '{"url": "https://www.good.example/page"}')
    figures = {
        "append_us": _least(rounds, lambda: _append(folder, durable=False)) / EVENTS * 1e6,
        "append_durable_us": _least(rounds, lambda: _append(folder, durable=True)) / EVENTS * 1e6,
        "decision_us": _least(rounds, lambda: [turn.judged(fetch, Grant(), 0) for _ in range(1_000)]) / 1_000 * 1e6,
        "resume_1000_events_ms": _least(rounds, lambda: _fold(events)) * 1e3,
    }
    figures["signed_leave_us"] = _least(rounds, _leave_of_a_schedule(folder, 1_000)) / 1_000 * 1e6
    level = try_level()
    if level.rung:
        (folder / "project").mkdir()
        draft = Draft.begin(folder / "project", folder / "draft")
        figures["command_confined_ms"] = _least(rounds, lambda: asyncio.run(run("true", draft, level, Limits()))) * 1e3
    return {name: round(value, 1) for name, value in figures.items()}


def _leave_of_a_schedule(folder: Path, times: int) -> Callable[[], object]:
    """Looked up, checked and weighed against the time so often, as before each step."""
    database = connect(folder / "headrace.sqlite")
    store, key, day = ScheduleStore(database), b"k" * KEY_BYTES, 86_400 * SECOND
    clock = TurnedClock()
    ends = clock.moment() + day
    grant = grant_with(Budget(), frozenset(("www.good.example",)), ("fetch url=https://www.good.example/page x5",) * 4, ends, "ann")
    mandate = Mandate(schedule="s", task="Read the page", folder="/", grant=grant, expires_at=ends, by="ann")
    store.add(new_schedule("s", "every day", "UTC", sealed(mandate, key), "", clock.moment()))
    keeper = Keeper(store, "s", key, clock)
    return lambda: [keeper() for _ in range(times)]


def _append(folder: Path, *, durable: bool) -> None:
    path = folder / "events.jsonl"
    path.unlink(missing_ok=True)
    log = RunLog(path, new=True)
    for _ in range(EVENTS):
        log.append(EVENT, 1, durable=durable)
    log.close()


def _a_long_run() -> list[PersonSaid | ModelSaid | Intended | Returned]:
    events: list[PersonSaid | ModelSaid | Intended | Returned] = [PersonSaid("Read the pages of www.good.example and write what they say")]
    for number in range(EVENTS // 3):
        name = str(number)
        events += [
            ModelSaid("", (Call(name, "read_file", '{"path": "a.txt"}'),)),
            Intended(name, name),
            Returned(name, f'"{name} {"x" * 200}"'),
        ]
    return events


def _fold(events: list[PersonSaid | ModelSaid | Intended | Returned]) -> None:
    turn = Turn(CARDS)
    for event in events:
        turn.add(event)


def _least(rounds: int, work: Callable[[], object]) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    main()
