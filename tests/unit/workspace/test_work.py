"""What a run is told while nobody works on it, and what becomes of that."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from headrace.agents import Grant
from headrace.agents.events import Event
from headrace.core.errors import HeadraceError
from headrace.core.model import Reply
from headrace.storage import RunLog, ThreadState
from headrace.testing.clock import TurnedClock
from headrace.workspace import Driver
from headrace.workspace.live import Live
from headrace.workspace.mail import Letter, Say, Stop, Task, post
from headrace.workspace.work import Work
from tests.unit.workspace.scripted import CountingHands, ScriptedModel


class Speaking(ScriptedModel):
    partial: Reply | None = None
    sees = False


async def worked(home: Path, letters: Sequence[Letter], *, resumed: bool) -> tuple[ThreadState, int]:
    """How the run stands after that, and how often its model was asked."""
    for number, letter in enumerate(letters):
        post(home, f"letter_{number}", letter)
    path = home / "events.jsonl"
    log, live, speaker = RunLog(path, new=not path.exists()), Live(home, lambda: None), Speaking([["Hello."]])
    stood: list[ThreadState] = []

    async def keep(
        state: ThreadState, said: list[tuple[int, str]], pico_usd: int, tokens: int, events: Sequence[Event], why: HeadraceError | None
    ) -> None:
        stood.append(state)

    async def equip(driver: Driver) -> None:
        pass

    work = Work(
        home=home,
        log=log,
        speaker=speaker,
        hands=CountingHands(home / "made"),
        grant=Grant,
        clock=TurnedClock(),
        intent=lambda events: "chat",
        live=live,
        woken=asyncio.Event(),
        keep=keep,
        by="ann",
        interrupt=lambda: False,
    )
    await work.go_on(resumed=resumed, equip=equip)
    live.close()
    log.close()
    return stood[-1], len(speaker.asked)


@pytest.mark.parametrize(
    ("letters", "resumed", "stands"),
    [
        ([Task("Talk")], False, ("done", 1)),
        ([Task("Talk"), Stop()], False, ("stopped", 0)),
        ([Say("Talk"), Stop()], True, ("stopped", 0)),
        ([Stop(), Say("Talk")], False, ("done", 1)),
        ([Say("Talk"), Stop(), Say("But do")], False, ("done", 1)),
        ([Stop()], False, ("new", 0)),
    ],
)
async def test_a_stop_holds_for_what_came_before_it(tmp_path, letters, resumed, stands):
    assert await worked(tmp_path, letters, resumed=resumed) == stands


async def test_what_was_stopped_before_it_began_goes_on_when_more_is_said_and_what_is_over_stays_so(tmp_path):
    assert await worked(tmp_path, [Say("Talk"), Stop()], resumed=False) == ("stopped", 0)
    assert await worked(tmp_path, [Say("But do")], resumed=False) == ("done", 1)
    assert await worked(tmp_path, [Stop()], resumed=True) == ("done", 0)
