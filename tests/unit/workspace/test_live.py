"""Following a run: every event once, from any on, and of what is between them only what is still true."""

import json
from typing import Any

from headrace.agents.events import Ended, ModelAsked, PersonSaid
from headrace.storage import RunLog
from headrace.workspace.live import Begun, Follower, Live, Stands, Words, stands
from headrace.workspace.mail import Answer, Letter, Say, Stop, post, take, waits


def said(lines: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def test_events_are_told_once_and_from_the_one_that_is_known(tmp_path):
    log = RunLog(tmp_path / "events.jsonl", new=True)
    log.append(PersonSaid("one"), 1, durable=False)
    log.append(ModelAsked("m"), 2, durable=False)
    all_of_it, rest = Follower(tmp_path, -1), Follower(tmp_path, 0)
    assert [seq for seq, _ in all_of_it.events()] == [0, 1]
    assert [seq for seq, _ in rest.events()] == [1]
    log.append(Ended("done"), 3, durable=False)
    assert [seq for seq, _ in all_of_it.events()] == [2]
    assert all_of_it.events() == []
    log.close()


def test_who_comes_in_the_middle_of_an_answer_is_told_what_was_said_of_it(tmp_path):
    nudges: list[int] = []
    live = Live(tmp_path, lambda: nudges.append(1))
    early = Follower(tmp_path, -1)
    for one in (Stands("running"), Begun("m"), Words("old"), Begun("m"), Words("new "), Words("thought", "thought")):
        live.tell(one)
    late = Follower(tmp_path, -1)
    assert len(early.moments()) == 4
    assert [one.get("text", one["type"]) for one in said(late.moments())] == ["stands", "begun", "new ", "thought"]
    live.tell(Words("words"))
    assert [one["text"] for one in said(late.moments())] == ["words"]
    live.tell(Stands("done"))
    assert said(Follower(tmp_path, -1).moments()) == [{"type": "stands", "state": "done", "code": "", "why": "", "passes": False}]
    assert stands(tmp_path) == Stands("done")
    live.close()
    again = Live(tmp_path, lambda: None)
    again.tell(Stands("running"))
    assert [one["state"] for one in said(late.moments())] == ["running"], "the file was begun anew"
    again.close()
    assert len(nudges) == 8


def test_who_comes_while_a_command_runs_is_told_what_it_has_said(tmp_path):
    live = Live(tmp_path, lambda: None)
    live.tell(Stands("running"))
    live.tell(Begun("m"))
    live.words("I run it", thought=False)
    live.shell("old")
    live.printed("of before")
    live.shell("make")
    live.printed("one\n")
    live.printed("two\r")
    assert said(Follower(tmp_path, -1).moments())[1:] == [
        {"type": "shell", "command": "make"},
        {"type": "printed", "text": "one\n"},
        {"type": "printed", "text": "two\r"},
    ]
    live.close()


def test_letters_are_taken_once_in_their_order(tmp_path):
    assert not waits(tmp_path)
    letters: list[Letter] = [Say("one"), Stop(), Answer({"1.0": True})]
    for number, letter in enumerate(letters):
        post(tmp_path, f"letter_{number}", letter)
    assert waits(tmp_path)
    assert take(tmp_path) == letters
    assert take(tmp_path) == []
