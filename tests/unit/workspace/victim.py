"""Runs in processes of their own, which kill themselves at a point.

It reads lines `POINT FOLDER [URL]`, lives each in a process forked for it, and answers with how that ended: modules are imported only once.
A point is a number of events, or an event of a call such as `Intended:browser_submit`. With an address the run is one in a browser.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from headrace.agents import Grant, Writers
from headrace.agents.delegation import DELEGATION
from headrace.agents.events import Event, Intended, ModelSaid, Returned, ToolsGiven
from headrace.sandbox import Draft, Level, Limits, try_level
from headrace.storage import RunLog
from headrace.testing.clock import TurnedClock
from headrace.workspace import Driver, Hands, Toolbox
from headrace.workspace.browsing import Browser
from tests.unit.workspace.scripted import Buyer, ScriptedModel, Step, ToldPerson, TwoModels

TASK = "Write notes.txt, run the commands, and fetch www.good.example"
SCRIPT: list[list[Step]] = [
    [("list_files", {}), ("write_file", {"path": "notes.txt", "text": "one\n"})],
    [("delegate", {"task": "Run it."})],
    [("fetch", {"url": "www.other.invalid"}), ("edit_file", {"path": "notes.txt", "old": "one", "new": "two"})],
    ["Done."],
]
BELOW: list[list[Step]] = [[("run_command", {"command": "echo ran >> ran.txt"})], ["It ran."]]


def dying(point: str) -> Callable[[Event], None]:
    """Kills this process at the point, right after the event is written."""
    tools: dict[str, str] = {}
    left = int(point) if point.isdigit() else 0

    def hear(event: Event) -> None:
        nonlocal left
        left -= 1
        if isinstance(event, ModelSaid):
            tools.update((call.id, call.tool) for call in event.calls)
        named = f"{type(event).__name__}:{tools.get(event.call)}" if isinstance(event, Intended | Returned) else ""
        if left == 0 or named == point:
            os.kill(os.getpid(), signal.SIGKILL)

    return hear


def main(folder: Path, point: str, level: Level, url: str) -> None:
    log = RunLog(folder / "events.jsonl")
    draft = Draft.open(folder / "draft")
    assert draft is not None
    hands = Hands(draft, level, Limits(seconds_max=20))
    browser = Browser(str(shutil.which("chromium")), draft, level, ports=frozenset((urlsplit(url).port or 0,)), private=True)
    toolbox = Toolbox(hands, [browser] if url else [])
    model: ScriptedModel = Buyer(url) if url else TwoModels(TASK, SCRIPT, BELOW)
    driver = Driver(log, model, toolbox, ToldPerson(happened=False), Grant(), TurnedClock(), dying(point))
    if not any(isinstance(event, ToolsGiven) for event in driver.events):
        driver.add(ToolsGiven(tuple(browser.tools) if url else (DELEGATION,), Writers.PERSON))

    async def run() -> None:
        try:
            await driver.run()
        finally:
            await browser.close()

    asyncio.run(run())


def live() -> None:
    level = try_level()
    for line in sys.stdin:
        point, folder, *url = line.split()
        child = os.fork()
        if child == 0:
            main(Path(folder), point, level, url[0] if url else "")
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    live()
