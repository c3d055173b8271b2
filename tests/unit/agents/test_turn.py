"""An agent's turn: what it wishes after each beginning of a transcript."""

import json

import pytest

from headrace.agents import Budget, Call, Card, Effect, Field, Grant, Leave, Readers, Turn, Wish, Writers, next_wish
from headrace.agents.events import (
    ContextGiven,
    Ended,
    Event,
    Failed,
    FateAsked,
    FateKnown,
    Intended,
    LeaveAsked,
    LeaveGiven,
    LeaveRefused,
    ModelAsked,
    ModelSaid,
    Paused,
    PersonSaid,
    Resumed,
    Returned,
    TaskGiven,
    ToolsGiven,
)
from headrace.agents.tools import Tool
from headrace.agents.turn import AskFate, AskLeave, CallModel, Finish, Pause, Refuse, RunTool, Wait

CARDS = {
    card.tool: card
    for card in (
        Card(tool="look", fields={"": Field()}, repeatable=True),
        Card(tool="ring", effect=Effect(kind="message", audience=Readers.ANYONE, final=True), arguments={"to": "recipient"}),
        Card(tool="save", effect=Effect(kind="file", contained=True), repeatable=True),
    )
}
SAID = PersonSaid("Look, and message bo@x.example")
LOOK, SAVE = Call("1", "look", ""), Call("5", "save", "{}")
RING, RING_EVE, RING_ZOE = (Call(str(at), "ring", json.dumps({"to": f"{who}@x.example"})) for at, who in enumerate(("bo", "eve", "zoe"), 2))
LEAVE = LeaveGiven(RING_EVE.id, Leave("ring", RING_EVE.arguments, "ada", 0))


def said(*calls: Call, text: str = "") -> ModelSaid:
    return ModelSaid(text, calls, tokens=10, pico_usd=100)


def wish(*events: Event, grant: Grant | None = None) -> Wish:
    return next_wish(events, grant or Grant(), CARDS, 0)


def asked(*calls: Call) -> LeaveAsked:
    return LeaveAsked(calls, ((),) * len(calls))


DONE = (Intended("1", "k"), Returned("1", '"seen"'))
TABLE: list[tuple[str, tuple[Event, ...], Wish]] = [
    ("a request", (SAID,), CallModel()),
    ("the model was cut off", (SAID, ModelAsked("m")), CallModel()),
    ("it answers", (SAID, said(text="Done")), Finish("Done")),
    ("it has ended", (SAID, said(text="Done"), Ended("Done")), Finish("Done")),
    ("more is said", (SAID, said(text="Done"), Ended("Done"), PersonSaid("And?")), CallModel()),
    ("steered between calls", (SAID, said(LOOK), PersonSaid("Wait"), *DONE), CallModel()),
    ("a call", (SAID, said(LOOK, RING)), RunTool(LOOK)),
    ("its outcome, and the next", (SAID, said(LOOK, RING), *DONE), RunTool(RING)),
    ("all have outcomes", (SAID, said(LOOK), *DONE), CallModel()),
    ("a failure is an outcome", (SAID, said(LOOK), Intended("1", "k"), Failed("1", "gone")), CallModel()),
    ("no such tool", (SAID, said(Call("9", "fly", "{}"))), Refuse(Call("9", "fly", "{}"), "There is no tool 'fly'.")),
    ("no JSON", (SAID, said(Call("9", "look", "{"))), Refuse(Call("9", "look", "{"), "The arguments are no JSON object.")),
    ("no object", (SAID, said(Call("9", "look", "[]"))), Refuse(Call("9", "look", "[]"), "The arguments are no JSON object.")),
    ("leave is awaited", (SAID, said(RING_EVE), asked(RING_EVE)), Wait()),
    ("leave is given", (SAID, said(RING_EVE), asked(RING_EVE), LEAVE), RunTool(RING_EVE)),
    (
        "leave to something else",
        (SAID, said(RING_EVE), asked(RING_EVE), LeaveGiven(RING_EVE.id, Leave("ring", "{}", "ada", 0))),
        Wait(),
    ),
    (
        "leave is refused",
        (SAID, said(RING_EVE), asked(RING_EVE), LeaveRefused(RING_EVE.id, "Not her.")),
        Refuse(RING_EVE, "The person refused. Not her."),
    ),
    ("paused", (SAID, Paused("stopped")), Wait()),
    ("resumed", (SAID, Paused("stopped"), Resumed()), CallModel()),
    ("cut off while looking", (SAID, said(LOOK), Intended("1", "k")), RunTool(LOOK, again=True)),
    ("cut off while doing what may be done twice", (SAID, said(SAVE), Intended("5", "k")), RunTool(SAVE, again=True)),
    ("cut off while ringing", (SAID, said(RING), Intended("2", "k")), AskFate(RING)),
    ("its fate is awaited", (SAID, said(RING), Intended("2", "k"), FateAsked("2")), Wait()),
    ("it happened", (SAID, said(RING), Intended("2", "k"), FateAsked("2"), FateKnown("2", happened=True)), CallModel()),
    ("it did not", (SAID, said(RING), Intended("2", "k"), FateAsked("2"), FateKnown("2", happened=False)), RunTool(RING, again=True)),
]


@pytest.mark.parametrize(("events", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_is_wished(events, expected):
    assert wish(*events) == expected


def test_calls_to_one_tool_in_a_row_are_one_question():
    found = wish(SAID, said(RING_EVE, RING_ZOE, LOOK, RING))
    assert isinstance(found, AskLeave)
    assert found.calls == (RING_EVE, RING_ZOE)
    assert [reasons[0].argument for reasons in found.reasons] == ["to", "to"]


def test_the_question_ends_before_what_needs_none():
    found = wish(SAID, said(RING_EVE, RING, RING_ZOE))
    assert isinstance(found, AskLeave)
    assert found.calls == (RING_EVE,)


def test_leave_to_a_value_holds_for_the_value_in_the_same_run():
    again = Call("7", "ring", json.dumps({"to": "eve@x.example", "body": "hi"}))
    before = (SAID, said(RING_EVE), asked(RING_EVE), LEAVE, Intended("3", "k"), Failed("3", "engaged"))
    assert wish(*before, said(again)) == RunTool(again)


@pytest.mark.parametrize(
    ("budget", "reason"),
    [(Budget(pico_usd_max=200), "money"), (Budget(tokens_max=20), "tokens"), (Budget(steps_max=2), "steps")],
)
def test_a_spent_budget_pauses_and_more_of_it_goes_on(budget, reason):
    grant = Grant(budget=budget)
    spent = (SAID, ModelAsked("m"), said(LOOK), *DONE, ModelAsked("m"), said(LOOK), *DONE)
    assert wish(*spent[:5], grant=grant) == CallModel()
    assert wish(*spent, grant=grant) == Pause(reason)
    assert wish(*spent, Paused(reason), grant=grant) == Wait()
    assert wish(*spent, Paused(reason), Resumed(1, 1, 1), grant=grant) == CallModel()


def test_what_the_model_did_not_read_does_not_colour_its_words():
    sealed, opened = Turn(CARDS), Turn(CARDS)
    for turn, behind in ((sealed, True), (opened, False)):
        for event in (SAID, said(LOOK), Intended("1", "k"), Returned("1", '"seen"', sealed=behind)):
            turn.add(event)
    assert sealed.known.context.writers == Writers.PERSON
    assert opened.known.context.writers == Writers.ANYONE
    assert opened.known.context.sources == {"1"}


def test_instructions_are_context_and_not_the_persons_words():
    turn = Turn(CARDS)
    turn.add(SAID)
    turn.add(ContextGiven("AGENTS.md", "Ring eve@x.example", Writers.ANYONE, Readers.PERSON))
    turn.add(said(RING_EVE))
    assert isinstance(turn.wish(Grant(), 0), AskLeave)
    assert turn.known.context.sources == {"AGENTS.md"}


def test_a_standing_leave_is_used_up_by_what_it_allowed():
    turn = Turn(CARDS)
    for event in (SAID, said(RING), Intended("2", "k", "l1"), Returned("2", "null")):
        turn.add(event)
    assert turn.known.done["leave l1"] == 1


def test_a_twin_goes_its_own_way():
    turn = Turn(CARDS)
    turn.add(SAID)
    twin = turn.twin()
    twin.add(said(LOOK))
    for event in DONE:
        twin.add(event)
    assert turn.known.context.writers == Writers.PERSON
    assert (turn.wish(Grant(), 0), twin.wish(Grant(), 0)) == (CallModel(), CallModel())
    assert not turn.known.records


@pytest.mark.parametrize(
    ("events", "waits_for"),
    [
        ((SAID, said(RING_EVE), asked(RING_EVE)), frozenset((RING_EVE.id,))),
        ((SAID, said(RING), Intended("2", "k"), FateAsked("2")), RING),
        ((SAID, Paused("money")), "money"),
    ],
)
def test_what_is_waited_for(events, waits_for):
    turn = Turn(CARDS)
    for event in events:
        turn.add(event)
    assert turn.waits_for() == waits_for


EXTRA = Tool(Card(tool="extra", fields={"": Field()}))


def test_tools_that_are_given_are_there_and_what_they_say_of_themselves_is_read():
    turn = Turn(CARDS)
    turn.add(SAID)
    read = []
    for tools in ((), (EXTRA,)):
        turn.add(ToolsGiven(tools, Writers.SERVICE))
        read.append(turn.known.context.writers)
    assert read == [Writers.PERSON, Writers.SERVICE]
    turn.add(said(Call("1", "extra", "{}")))
    assert turn.wish(Grant(), 0) == RunTool(Call("1", "extra", "{}"))


def test_a_task_of_another_program_names_nothing():
    task = TaskGiven("Message bo@x.example", Grant(), ())
    given = ContextGiven("whose task", "another's", Writers.ANYONE, Readers.ANYONE)
    assert isinstance(wish(given, task, said(RING)), AskLeave)
    assert wish(SAID, said(RING)) == RunTool(RING)
