"""What a run waits for, told from its log alone, and answered there: the same as if its person had been asked."""

import asyncio
from pathlib import Path

import pytest

from headrace.agents import Budget, Grant, Writers
from headrace.agents.delegation import DELEGATION
from headrace.agents.events import Ended, Event, Intended, PersonSaid, Resumed, Returned, ToolsGiven, Within
from headrace.agents.question import Question, answered, question
from headrace.agents.tools import CARDS
from headrace.storage import RunLog, read_run
from headrace.testing.clock import NOON, TurnedClock
from headrace.workspace import Driver
from tests.unit.workspace.scripted import CountingHands, Step, ToldPerson, TwoModels

TASK = "Read a and run the tests"
BELOW: list[list[Step]] = [[("read_file", {"path": "a"})], [("fetch", {"url": "evil.example"})], ["I read it."]]
ABOVE: list[list[Step]] = [[("delegate", {"task": "Read it"})], [("run_command", {"command": "make test"})], ["Done."]]
MORE = Resumed(more_steps=50)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    log = RunLog(tmp_path / "events.jsonl", new=True)
    log.append(ToolsGiven((DELEGATION,), Writers.PERSON), 0, durable=False)
    log.append(PersonSaid(TASK), 0, durable=True)
    log.close()
    return tmp_path / "events.jsonl"


def go_on(path: Path, person: ToldPerson, grant: Grant | None = None) -> str:
    log = RunLog(path)
    try:
        hands = CountingHands(path.with_name("ledger"))
        return asyncio.run(
            Driver(log, TwoModels(TASK, ABOVE, BELOW), hands, person, grant or Grant(), TurnedClock(), lambda event: None).run()
        )
    finally:
        log.close()


def events_of(path: Path) -> list[Event]:
    return [entry.event for entry in read_run(path)]


def asked(path: Path) -> Question | None:
    return question(events_of(path), CARDS)


def answer(path: Path, *, yes: bool) -> None:
    found = asked(path)
    assert found is not None
    log = RunLog(path)
    for event in answered(found, yes=yes, by="ann", now=NOON, more=MORE):
        log.append(event, NOON, durable=True)
    log.close()


@pytest.mark.parametrize("yes", [True, False])
def test_leave_that_a_sub_agent_waits_for_is_answered_within_it(path, yes):
    assert asked(path) is None
    assert go_on(path, ToldPerson(leave=None)) == "waiting"
    found = asked(path)
    assert found is not None
    assert ([call.tool for call in found.calls], found.within) == (["fetch"], ("3.0",))
    assert {reason.rule for reason in found.reasons[0]} == {"url"}
    answer(path, yes=yes)
    assert isinstance(events_of(path)[-1], Within)
    assert asked(path) is None
    person = ToldPerson(leave=None)
    assert go_on(path, person) == "done"
    assert person.questions == []
    assert (["fetch", {"url": "evil.example"}] in CountingHands(path.with_name("ledger")).made) == yes
    assert asked(path) is None


@pytest.mark.parametrize("happened", [True, False])
def test_the_fate_of_an_effect_is_answered(path, happened):
    go_on(path, ToldPerson())
    whole = path.read_bytes().splitlines(keepends=True)
    at = max(number for number, event in enumerate(events_of(path)) if isinstance(event, Intended))
    path.write_bytes(b"".join(whole[: at + 1]))
    assert asked(path) is None, "nobody has been asked yet"
    path.with_name("ledger").unlink()
    person = ToldPerson()
    person._happened = None
    assert go_on(path, person) == "waiting"
    found = asked(path)
    assert found is not None
    assert found.fate is not None
    assert (found.fate.tool, found.calls, found.pause) == ("run_command", (), None)
    answer(path, yes=happened)
    assert go_on(path, ToldPerson(leave=None)) == "done"
    assert (["run_command", {"command": "make test"}] in CountingHands(path.with_name("ledger")).made) == (not happened)


def test_a_pause_is_ended_with_more_or_stays(path):
    grant = Grant(budget=Budget(steps_max=1))
    assert go_on(path, ToldPerson(), grant) == "waiting"
    found = asked(path)
    assert found is not None
    assert found.pause == "steps"
    assert answered(found, yes=False, by="ann", now=NOON, more=MORE) == []
    answer(path, yes=True)
    assert go_on(path, ToldPerson(), grant) == "done"
    assert isinstance(events_of(path)[-1], Ended)
    assert any(isinstance(event, Returned) for event in events_of(path))
