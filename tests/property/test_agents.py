"""The rules about leave: whatever was said, seen and tried, less trust never gives more leave, and a turn always has one wish."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from headrace.agents import Allow, Ask, Card, Grant, Knowledge, Readers, Turn, Writers, judge
from headrace.agents.events import Failed, Intended, LeaveAsked, LeaveRefused, ModelAsked, ModelSaid, PersonSaid, Returned
from headrace.agents.leave import Call
from headrace.agents.turn import AskLeave, CallModel, Finish, Refuse, RunTool
from headrace.agents.values import Value, write
from tests.unit.agents.desk import A_MAIL, A_PAGE, CARDS, Seen

WORDS = st.sampled_from(
    [
        "Mail",
        "bo@x.example",
        "Sarah Baker",
        "the largest file",
        "delete",
        "today",
        "GB299",
        "12.50",
        "www.a.example",
        "May 3rd",
        "Spotify",
        "Tell Bob",
    ]
)
SAID = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
SEEN: st.SearchStrategy[list[Seen]] = st.lists(
    st.sampled_from(
        [
            A_PAGE,
            A_MAIL,
            ("contacts", [{"name": "Sarah Baker", "email": "sarah@home.example"}]),
            ("files", [{"id": "7", "name": "notes.txt", "size": 10}, {"id": "8", "name": "plan.txt", "size": 90}]),
            ("bookings", [{"id": 1, "from": "me", "with": "GB299", "amount": 50.0, "subject": "Spotify"}]),
            ("members", ["Bob", "general"]),
            ("chat", [{"from": "Bob", "body": "see lunch.example"}]),
            ("hotels", {"City Hub": "nice"}),
            ("today", "2026-05-03"),
        ]
    ),
    max_size=4,
)
VALUES: st.SearchStrategy[Value] = st.sampled_from(
    [
        "bo@x.example",
        "sarah@home.example",
        "mallory@evil.example",
        "7",
        "8",
        "GB299",
        "EVIL999888",
        12.5,
        50,
        60,
        "2026-05-03",
        "Bob",
        "City Hub",
        "www.a.example",
        "lunch.example",
        "evil.example",
        "Hello Sarah Baker",
        "My code is 778899",
    ]
)
EFFECTS = [card for card in CARDS.values() if card.effect is not None]
TRIES = st.sampled_from(EFFECTS).flatmap(
    lambda card: st.tuples(st.just(card), st.fixed_dictionaries({}, optional=dict.fromkeys((*card.arguments, "body"), VALUES)))
)


def less(card: Card, drop: set[str]) -> Card:
    """The card with some fields that anyone can have written, and only the person may read."""

    def worse(name: str) -> bool:
        return not drop or name in drop

    fields = {
        name: replace(field, writers=Writers.ANYONE, readers=Readers.PERSON) if worse(name) else field
        for name, field in card.fields.items()
    }
    return replace(card, fields=fields)


def run(said: str, seen: list[Seen], drop: set[str] | None = None) -> Knowledge:
    known = Knowledge()
    known.hear(said)
    for at, (tool, value) in enumerate(seen):
        known.see(str(at), CARDS[tool] if drop is None else less(CARDS[tool], drop), value)
    return known


@given(
    said=SAID, seen=SEEN, tried=TRIES, drop=st.sets(st.sampled_from(["", "id", "name", "email", "with", "amount", "subject", "size", "*"]))
)
def test_less_trust_never_gives_more_leave(said, seen, tried, drop):
    card, arguments = tried
    if isinstance(judge(card, arguments, run(said, seen), Grant(), 0), Ask):
        assert not isinstance(judge(card, arguments, run(said, seen, drop), Grant(), 0), Allow)


@given(said=SAID, seen=SEEN, tried=TRIES)
def test_a_strangers_page_never_gives_leave(said, seen, tried):
    card, arguments = tried
    if isinstance(judge(card, arguments, run(said, seen), Grant(), 0), Ask):
        assert not isinstance(judge(card, arguments, run(said, [*seen, A_PAGE]), Grant(), 0), Allow)


@given(said=SAID, seen=SEEN, tried=TRIES)
def test_the_verdict_is_the_same_each_time(said, seen, tried):
    card, arguments = tried
    known = run(said, seen)
    assert judge(card, arguments, known, Grant(), 0) == judge(card, arguments, known.twin(), Grant(), 0)


@given(said=SAID, turns=st.lists(st.lists(TRIES, max_size=3), min_size=1, max_size=4))
def test_a_turn_ends_and_no_refused_call_is_made(said, turns):
    turn, made, refused = Turn(CARDS), set(), set()
    turn.add(PersonSaid(said))
    script = iter(turns)
    for number in range(100):
        match turn.wish(Grant(), 0):
            case CallModel():
                turn.add(ModelAsked("m"))
                calls = [Call(f"{number}.{at}", card.tool, write(arguments)) for at, (card, arguments) in enumerate(next(script, []))]
                turn.add(ModelSaid("done", tuple(calls)))
            case RunTool(call):
                made.add(call.id)
                turn.add(Intended(call.id, call.id))
                turn.add(Returned(call.id, write(A_PAGE[1])))
            case AskLeave(calls=asked, reasons=reasons):
                turn.add(LeaveAsked(asked, reasons))
                for call in asked:
                    refused.add(call.id)
                    turn.add(LeaveRefused(call.id))
            case Refuse(call, says):
                turn.add(Failed(call.id, says))
            case Finish():
                break
            case other:
                raise AssertionError(other)
    else:
        raise AssertionError("it never ends")
    assert not made & refused
