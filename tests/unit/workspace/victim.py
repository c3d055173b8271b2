"""Runs in processes of their own, which kill themselves after so many events.

It reads lines `EVENTS FOLDER`, lives each in a process forked for it, and answers with how that ended: modules are imported only once.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from headrace.agents import Grant, Writers
from headrace.agents.delegation import DELEGATION
from headrace.agents.events import Event, ToolsGiven
from headrace.sandbox import Draft, Level, Limits, try_level
from headrace.storage import RunLog
from headrace.testing.clock import TurnedClock
from headrace.workspace import Driver, Hands
from tests.unit.workspace.scripted import Step, ToldPerson, TwoModels

TASK = "Write notes.txt, run the commands, and fetch www.good.example"
SCRIPT: list[list[Step]] = [
    [("list_files", {}), ("write_file", {"path": "notes.txt", "text": "one\n"})],
    [("delegate", {"task": "Run it."})],
    [("fetch", {"url": "www.other.invalid"}), ("edit_file", {"path": "notes.txt", "old": "one", "new": "two"})],
    ["Done."],
]
BELOW: list[list[Step]] = [[("run_command", {"command": "echo ran >> ran.txt"})], ["It ran."]]


def main(folder: Path, events_max: int, level: Level) -> None:
    log = RunLog(folder / "events.jsonl")
    draft = Draft.open(folder / "draft")
    assert draft is not None
    left = events_max

    def hear(event: Event) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    hands = Hands(draft, level, Limits(seconds_max=20))
    driver = Driver(log, TwoModels(TASK, SCRIPT, BELOW), hands, ToldPerson(happened=False), Grant(), TurnedClock(), hear)
    if not any(isinstance(event, ToolsGiven) for event in driver.events):
        driver.add(ToolsGiven((DELEGATION,), Writers.PERSON))
    asyncio.run(driver.run())


def live() -> None:
    level = try_level()
    for line in sys.stdin:
        events, _, folder = line.strip().partition(" ")
        child = os.fork()
        if child == 0:
            main(Path(folder), int(events), level)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    live()
