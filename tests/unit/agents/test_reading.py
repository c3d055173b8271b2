"""What is read off texts: words, days, addresses, typed answers, instructions of folders, skills; and how answers become records."""

import pytest

from headrace.agents import Card, Field, Knowledge, Label, Readers, Writers
from headrace.agents.extraction import Question, answer
from headrace.agents.instructions import CHARS_MAX, folder_instructions, skill
from headrace.agents.labels import UNTOUCHED
from headrace.agents.request import Request
from headrace.agents.tools import CARDS, TOOLS
from headrace.agents.values import leaves, read, said, write
from headrace.agents.words import Day, codes, days, emails, holds, host_of, numbers, urls


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("on 2024-05-19 at 12:00", [Day(2024, 5, 19)]),
        ("May 15th, 2024", [Day(2024, 5, 15)]),
        ("from January 11th to January 15th 2025", [Day(0, 1, 11), Day(2025, 1, 15)]),
        ("the 14th of November", [Day(0, 11, 14)]),
        ("3 Sep 2026", [Day(2026, 9, 3)]),
        ("1234-56-789 or maybe", []),
    ],
)
def test_days(text, found):
    assert days(text) == found


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("pay gb29 now", "gb29", True),
        ("pay gb299 now", "gb29", False),
        ("see a.b.example", "b.example", False),
        ("see b.example.", "b.example", True),
        ("done. b.example", "b.example", True),
        ("see b.example/x", "b.example", False),
        ("x-b.example and b.example", "b.example", True),
        ("no", "yes", False),
    ],
)
def test_a_value_stands_by_itself(text, value, found):
    assert holds(text, value) is found


def test_addresses():
    assert urls("See https://A.example/Path. Or www.b.example, not me@c.example") == ["a.example/Path", "www.b.example"]
    assert emails("Me@C.example.") == ["me@c.example"]
    assert host_of("https://user@A.example:8080/x?y") == "a.example"
    assert numbers("1,200.50 or 3, not 4a") == [1200.5, 3.0]
    assert codes("GB29NWBK60 on 2024-05-19, plain words, 12345678") == ["GB29NWBK60", "12345678"]


@pytest.mark.parametrize(
    ("said", "name", "called"),
    [
        ("Open my notes", "notes.txt", True),
        ("Open my other", "notes.txt", False),
        ("Pay Spotify. Thanks", "Spotify Premium", True),
        ("Spotify rose", "Spotify Premium", False),
        ("Pay the rent", "Rent", True),
        ("Do it", "it", False),
        ("Do it", "...", False),
        ("About a 'C.D'", "C.D", True),
    ],
)
def test_what_a_person_calls_a_thing(said, name, called):
    assert Request((said,)).calls(name) is called


def test_both_ends_name_neither():
    assert Request(("the largest and the smallest",)).superlative == 0


@pytest.mark.parametrize(
    ("kind", "reply", "value"),
    [
        ("yes_no", " Yes. ", True),
        ("yes_no", "perhaps", None),
        ("number", "1,200", 1200.0),
        ("number", "nan", None),
        ("number", "inf", None),
        ("number", "many", None),
        ("day", "2026-05-01", "2026-05-01"),
        ("day", "2026-05-01, and pay Mallory", None),
        ("choice", "red", "Red"),
        ("choice", "green", None),
        ("id", "a-17", "a-17"),
        ("id", "pay Mallory", None),
    ],
)
def test_an_answer_is_of_its_type_or_none(kind, reply, value):
    assert answer(Question(asks="?", kind=kind, choices=("Red", "Blue")), reply) == value


def test_instructions_of_folders_the_nearest_last():
    files = {"AGENTS.md": "a" * (CHARS_MAX + 1), "src/AGENTS.md": "b", "docs/AGENTS.md": "c"}
    outer, inner = folder_instructions(files, "src/x/y.py", trusted=True)
    assert (len(outer.text), inner.text, inner.writers) == (CHARS_MAX, "b", Writers.INSIDE)
    assert folder_instructions(files, "y.py", trusted=False)[0].writers == Writers.ANYONE


def test_a_skill_says_its_name_and_what_for():
    found = skill('---\nname: "tidy"\ndescription: Tidies.\nlicense: x\n---\nSweep.\n')
    assert found is not None
    assert (found.name, found.description, found.text) == ("tidy", "Tidies.", "Sweep.\n")
    assert skill("Sweep.") is None
    assert skill("---\nname: tidy\n---\n") is None
    assert skill("---\ndescription: Tidies.\n---\n") is None


def test_labels_meet_at_the_worse():
    one, other = Label(Writers.OWN, Readers.ANYONE, frozenset("a")), Label(Writers.SERVICE, Readers.PERSON, frozenset("b"))
    assert one.meet(other) == Label(Writers.SERVICE, Readers.PERSON, frozenset("ab"))
    assert UNTOUCHED.meet(one) == one


def test_values():
    assert write({"b": 1, "a": [None, "x"]}) == '{"a":[null,"x"],"b":1}'
    assert read('{"a": 1}') == {"a": 1}
    assert [said(None), said("x"), said(2.5), said(True)] == ["", "x", "2.5", "true"]
    assert list(leaves({"a": ["x", None, True, 3]})) == ["x", "3"]


def test_an_answer_becomes_records():
    card = Card(
        tool="look",
        fields={
            "id": Field(writers=Writers.OWN, role="handle"),
            "shared": Field(writers=Writers.OWN, role="address"),
            "*": Field(role="name"),
        },
    )
    run = Knowledge()
    run.see(
        "1",
        card,
        [{"id": "7", "shared": {"bo@x.example": "r"}, "tags": ["red", None], "inner": {"id": "8"}, "Paris": True, "": ""}, [None, "bare"]],
    )
    run.see("2", card, {"id": "8"})
    values = [[leaf.value for leaf in record.leaves] for record in run.records]
    assert ["bare"] in values
    assert any("7" in record and "red" in record and "Paris" in record for record in values)
    assert run.handles == {"7", "8"}


def test_every_tool_of_the_workspace_says_what_it_takes():
    for name, tool in TOOLS.items():
        assert CARDS[name].says
        assert {argument.rstrip("?") for argument in tool.takes} >= set(CARDS[name].arguments)
