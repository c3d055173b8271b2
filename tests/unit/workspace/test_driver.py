"""The driver: a run from the request to its end, gone on with from every one of its beginnings, and nothing done twice."""

import asyncio
import json
from pathlib import Path

import pytest

from headrace.agents import Budget
from headrace.agents.events import Ended, Event, Failed, Intended, LeaveRefused, ModelSaid, Paused, PersonSaid, Resumed, Returned
from headrace.core.errors import RunBusy, RunLogDamaged, RunNotFound
from headrace.storage import read_run
from headrace.workspace import verdict
from headrace.workspace.conversation import RESULT_CHARS_MAX, body_of
from tests.unit.workspace.scripted import CountingHands, ScriptedModel, ToldPerson, begin, driver

TASK = "Read a.txt, write b.txt, run the tests, and read www.good.example"
SCRIPT = [
    [("read_file", {"path": "a.txt"}), ("write_file", {"path": "b.txt", "text": "two"})],
    ["Now the tests.", ("run_command", {"command": "make test"})],
    [("fetch", {"url": "www.other.example"}), ("edit_file", {"path": "b.txt", "old": "two", "new": "three"})],
    ["All is done."],
]
EFFECTS: list[list[object]] = [["run_command", {"command": "make test"}], ["edit_file", {"path": "b.txt", "old": "two", "new": "three"}]]


def play(path: Path, person: ToldPerson, script=SCRIPT, budget: Budget | None = None) -> tuple[str, list[Event], CountingHands]:
    hands = CountingHands(path.with_name("ledger"))
    run, log = driver(path, ScriptedModel(script), hands, person, budget=budget)
    try:
        return asyncio.run(run.run()), run.events, hands
    finally:
        log.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    begin(tmp_path / "events.jsonl", TASK)
    return tmp_path / "events.jsonl"


def test_a_run_from_the_request_to_its_end(path):
    person = ToldPerson()
    ending, events, hands = play(path, person)
    assert ending == "done"
    assert events[-1] == Ended("All is done.")
    assert [made[0] for made in hands.made] == ["read_file", "write_file", "run_command", "fetch", "edit_file"]
    assert person.questions == ["leave 1"]
    assert [entry.event for entry in read_run(path)] == events


def test_what_is_refused_is_not_done_and_the_model_is_told(path):
    _, events, hands = play(path, ToldPerson(leave=False))
    assert "fetch" not in [made[0] for made in hands.made]
    assert any(isinstance(event, LeaveRefused) for event in events)
    assert any(isinstance(event, Failed) and "refused" in event.says for event in events)


def test_a_run_waits_for_who_is_not_there_and_goes_on_when_they_are(path):
    ending, _, hands = play(path, ToldPerson(leave=None))
    assert ending == "waiting"
    assert play(path, ToldPerson(leave=None))[0] == "waiting"
    person = ToldPerson()
    assert play(path, person)[0] == "done"
    assert person.questions == ["leave 1"]
    assert len(hands.made) == 5


def test_a_failure_of_a_tool_is_told_and_the_run_goes_on(path):
    script = [[("read_file", {"path": "missing"})], ["It is not there."]]
    ending, events, _ = play(path, ToldPerson(), script)
    assert ending == "done"
    assert Failed("2.0", "missing is not there.") in events


def test_a_budget_pauses_and_more_of_it_goes_on(path):
    budget = Budget(tokens_max=150)
    ending, events, _ = play(path, ToldPerson(), budget=budget)
    assert (ending, events[-1]) == ("waiting", Paused("tokens"))
    ending, events, _ = play(path, ToldPerson(more=Resumed(more_tokens=1_000)), budget=budget)
    assert ending == "done"


def beginnings(tmp_path: Path) -> list[bytes]:
    """The log after each of its events, as a kill would have left it."""
    begin(tmp_path / "whole.jsonl", TASK)
    play(tmp_path / "whole.jsonl", ToldPerson())
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    return [b"".join(lines[:count]) for count in range(1, len(lines) + 1)]


@pytest.mark.parametrize("cut", [b"", b'{"seq":99,"at":0,"eve'], ids=["between events", "within an event"])
def test_from_every_beginning_it_ends_alike_and_no_effect_is_made_twice(tmp_path, cut):
    found = beginnings(tmp_path)
    assert len(found) > 20
    for count, content in enumerate(found):
        folder = tmp_path / str(count)
        folder.mkdir()
        path = folder / "events.jsonl"
        path.write_bytes(content + cut)
        events = [entry.event for entry in read_run(path)]
        done = [event for event in events if isinstance(event, Returned)]
        last = events[-1]
        open_effect = isinstance(last, Intended) and any(
            call.id == last.call and call.tool in ("run_command", "edit_file")
            for event in events
            if isinstance(event, ModelSaid)
            for call in event.calls
        )
        person = ToldPerson(happened=True)
        ending, after, hands = play(path, person)
        assert (ending, after[-1]) == ("done", Ended("All is done.")), count
        assert any(question.startswith("fate") for question in person.questions) == open_effect, count
        for effect in EFFECTS:
            assert hands.made.count(effect) <= 1, count
        assert len(hands.made) + len(done) + open_effect == 5, count


def test_an_effect_of_unknown_fate_is_made_again_only_when_it_did_not_happen(path):
    play(path, ToldPerson())
    whole = path.read_bytes().splitlines(keepends=True)
    at = next(n for n, entry in enumerate(read_run(path)) if isinstance(entry.event, Intended) and entry.event.call.startswith("8"))
    path.write_bytes(b"".join(whole[: at + 1]))
    path.with_name("ledger").unlink()
    _, _, hands = play(path, ToldPerson(happened=False))
    assert hands.made[0] == ["run_command", {"command": "make test"}]


def test_a_log_that_was_changed_is_not_gone_on_with(path):
    play(path, ToldPerson())
    content = path.read_bytes()
    for changed in (
        content.replace(b"All is done", b"All is DONE"),
        b"".join(content.splitlines(keepends=True)[1:]),
        content.replace(b'"seq":3', b'"seq":4'),
        b"{}\n" + content,
    ):
        path.write_bytes(changed)
        with pytest.raises(RunLogDamaged):
            play(path, ToldPerson())


def test_a_run_has_one_driver_at_a_time(path):
    _, log = driver(path, ScriptedModel([]), CountingHands(path), ToldPerson())
    with pytest.raises(RunBusy):
        driver(path, ScriptedModel([]), CountingHands(path), ToldPerson())
    log.close()


def test_no_such_run(tmp_path):
    with pytest.raises(RunNotFound):
        driver(tmp_path / "events.jsonl", ScriptedModel([]), CountingHands(tmp_path), ToldPerson())
    with pytest.raises(RunNotFound):
        read_run(tmp_path / "events.jsonl")


def test_a_conversation_gives_every_call_its_result_before_more_is_said(path):
    _, events, _ = play(path, ToldPerson())
    spot = next(number for number, event in enumerate(events) if isinstance(event, Intended))
    steered = [*events[:spot], PersonSaid("And hurry"), *events[spot:]]
    roles = [message["role"] for message in json.loads(body_of(steered, {}))["messages"]]
    assert roles[:6] == ["system", "user", "assistant", "tool", "tool", "user"]


def test_a_long_result_is_cut_in_the_middle():
    events: list[Event] = [PersonSaid("x"), Returned("1", "a" * (3 * RESULT_CHARS_MAX))]
    content = json.loads(body_of(events, {}))["messages"][-1]["content"]
    assert "characters left out" in content
    assert len(content) < 2 * RESULT_CHARS_MAX


@pytest.mark.parametrize(
    ("events", "says"),
    [
        ([PersonSaid("Write a file"), ModelSaid("I wrote it.")], "only talked"),
        ([PersonSaid("Good day"), ModelSaid("Good day.")], None),
        ([PersonSaid("Write a file"), *[Failed("1", "x")] * 3, Returned("1", "1")], "only talked"),
    ],
)
def test_a_run_says_when_its_model_was_not_up_to_it(events, says):
    found = verdict(events)
    assert (found is None) if says is None else (found is not None and says in found)
