"""Threads as files: ours, whole; those of others, as far as they are conversation; and what is none, refused with a word."""

import json
from collections.abc import Sequence

import pytest

from headrace.agents import Readers, Writers
from headrace.agents.events import IMPORTED, ContextGiven, Ended, Event, ModelSaid, PersonSaid
from headrace.core.errors import InvalidRequest
from headrace.storage import Branch, Entry
from headrace.workspace.porting import exported, imported, whole

CAME_IN = ContextGiven(IMPORTED, "All before this came in with a file.", Writers.ANYONE, Readers.PERSON)
FIRST = (PersonSaid("One"), ModelSaid("1"), Ended("1"))
OTHER = (PersonSaid("One"), ModelSaid("uno"), Ended("uno"))
BRANCHES = [
    Branch(id="run_a", thread="t", parent=None, forked_at=0, created=1),
    Branch(id="run_b", thread="t", parent="run_a", forked_at=1, created=2),
]


def entries(events: Sequence[Event]) -> tuple[Entry, ...]:
    return tuple(Entry(seq, 10 + seq, event) for seq, event in enumerate(events))


def test_a_thread_comes_in_as_it_went_out():
    file = exported("Numbers", "maths", BRANCHES, {"run_a": entries(FIRST), "run_b": entries(OTHER)}, {})
    (ported,) = imported(file)
    assert (ported.title, ported.label) == ("Numbers", "maths")
    assert [len(run.events) for run in ported.runs] == [3, 2], "what a branch shares with its parent is told once"
    told = whole(ported.runs)
    assert [tuple(event for _, event in said) for _, said in told] == [(*FIRST, CAME_IN), (*OTHER, CAME_IN)]
    assert [at for at, _ in told[1][1]] == [10, 11, 12, 12]


CHATGPT = [
    {
        "title": "Rivers",
        "current_node": "d",
        "mapping": {
            "a": {"parent": None, "message": None},
            "b": {"parent": "a", "message": {"author": {"role": "user"}, "create_time": 1.5, "content": {"parts": ["Longest?"]}}},
            "c": {"parent": "b", "message": {"author": {"role": "assistant"}, "content": {"parts": ["The Nile."]}}},
            "d": {"parent": "b", "message": {"author": {"role": "assistant"}, "content": {"parts": ["The Amazon.", {"asset": 1}]}}},
            "e": {"parent": "b", "message": {"author": {"role": "tool"}, "content": {"parts": ["hidden"]}}},
        },
    },
    {"title": "Empty", "current_node": None, "mapping": {}},
]
CLAUDE = [
    {
        "name": "",
        "chat_messages": [
            {"sender": "human", "text": "Longest?", "created_at": "2026-01-02T03:04:05Z"},
            {"sender": "assistant", "content": [{"type": "text", "text": "The"}, {"type": "text", "text": "Nile."}], "text": ""},
        ],
    }
]


def test_of_chatgpts_conversations_the_branch_that_was_shown_comes_in():
    (ported,) = imported(json.dumps(CHATGPT).encode())
    assert ported.title == "Rivers"
    assert [one.event for one in ported.runs[0].events] == [PersonSaid("Longest?"), ModelSaid("The Amazon."), Ended("The Amazon.")]
    assert ported.runs[0].events[0].at == 1_500_000_000


def test_of_claudes_all_that_was_said_comes_in():
    (ported,) = imported(json.dumps(CLAUDE).encode())
    assert ported.title == "Untitled"
    assert [one.event for one in ported.runs[0].events] == [PersonSaid("Longest?"), ModelSaid("The\nNile."), Ended("The\nNile.")]
    assert ported.runs[0].events[0].at == 1_767_323_045 * 10**9


OURS = {"format": "headrace-thread/1", "title": "x"}
EVENT = {"at": 1, "event": {"type": "PersonSaid", "text": "x"}}


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (b"PK\x03\x04", "no JSON"),
        (b"{}", "none that can be imported"),
        (b'["x"]', "none that can be imported"),
        (b'[{"messages": []}]', "none that can be imported"),
        (json.dumps({**OURS, "runs": []}).encode(), "no branch"),
        (json.dumps({**OURS, "runs": [{"id": "a", "events": [{"at": 1, "event": {"type": "Nothing"}}]}]}).encode(), "can't be read"),
    ],
)
def test_what_is_no_such_file_is_refused_with_a_word(file, says):
    with pytest.raises(InvalidRequest, match=says):
        imported(file)


@pytest.mark.parametrize("forked_at", [1, 9])
def test_a_branch_must_leave_where_its_parent_has_been(forked_at):
    runs = [{"id": "b", "parent": "a", "forked_at": forked_at, "events": []}]
    runs += [{"id": "a", "events": [EVENT]}] if forked_at == 1 else []
    runs = runs if forked_at == 1 else [{"id": "a", "events": [EVENT]}, *runs]
    (ported,) = imported(json.dumps({**OURS, "runs": runs}).encode())
    with pytest.raises(InvalidRequest, match="leaves 'a'"):
        whole(ported.runs)
