"""What a run has seen, and who can have written each piece of it: a fold over the transcript.

A tool's answer is taken apart into records of fields, each labelled by the tool's card. Of each the knowledge keeps what the rules ask for:
handles of the person's own things, names and addresses of records, amounts, links, and the label of all that the model has read so far.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from copy import copy

import msgspec

from headrace.agents.cards import Card, Field, FieldRole
from headrace.agents.labels import UNTOUCHED, Label, Readers, Writers
from headrace.agents.request import Request
from headrace.agents.values import Value, leaves, said
from headrace.agents.words import emails, holds, urls, words

PHRASE_WORDS_MAX = 16


class Leaf(msgspec.Struct, frozen=True, gc=False):
    """One labelled value of one field."""

    value: str
    role: FieldRole
    writers: Writers
    readers: Readers
    number: float | None = None


class Record(msgspec.Struct, frozen=True):
    """What a tool returned about one thing."""

    source: str
    leaves: tuple[Leaf, ...]

    def of(self, role: FieldRole) -> Iterator[Leaf]:
        return (leaf for leaf in self.leaves if leaf.role == role)

    @property
    def called(self) -> tuple[str, ...]:
        return tuple(leaf.value.casefold() for leaf in self.of("name"))


class Named(msgspec.Struct, frozen=True):
    """The records that the person's words name, the handles of them, and the addresses of those that a name means alone."""

    records: frozenset[Record]
    handles: frozenset[str]
    addresses: frozenset[str]


class Knowledge:
    """All that is known in a run. `context` is the label of what the model has read."""

    def __init__(self) -> None:
        self._request: Request | None = None
        self.context: Label = UNTOUCHED
        self.records: list[Record] = []
        self.handles: set[str] = set()
        self.made: set[str] = set()
        self.endorsed: set[str] = set()
        self.links: dict[str, Writers] = {}
        self.inside: list[str] = []
        self.phrases: dict[str, dict[tuple[str, ...], Readers]] = {}
        self.done: dict[str, int] = {}
        self.changed: set[str] = set()
        self._said: tuple[str, ...] = ()
        self._seen: set[Record] = set()
        self._called: list[Record] = []
        self._named: Named | None = None
        self._booked: list[Record] = []
        self._sizes: dict[str, tuple[float, Record]] = {}
        self._sizes_spoiled = False

    def twin(self) -> "Knowledge":
        """The same knowledge, growing apart from here."""
        other = copy(self)
        other.records, other.handles, other.made = list(self.records), set(self.handles), set(self.made)
        other.endorsed, other.links, other.inside = set(self.endorsed), dict(self.links), list(self.inside)
        other.phrases = {first: dict(known) for first, known in self.phrases.items()}
        other._called = list(self._called)
        other.done, other._seen, other._booked = dict(self.done), set(self._seen), list(self._booked)
        other.changed, other._sizes = set(self.changed), dict(self._sizes)
        return other

    @property
    def request(self) -> Request:
        """All that the person said, read when it is first asked for: a long conversation in which nothing is judged costs nothing."""
        if self._request is None:
            self._request = Request(self._said)
        return self._request

    def hear(self, text: str) -> None:
        """The person says more."""
        self._said += (text,)
        self._request = None
        self._called = [record for record in self.records if self._is_called(record)]
        self._named = None

    def endorse(self, value: Value) -> None:
        """The person gave leave to exactly this: its values are now the person's own choice."""
        self.endorsed.update(leaf.casefold() for leaf in leaves(value))

    def do(self, deed: str) -> None:
        """An effect was performed; `deed` says what and on whom."""
        self.done[deed] = self.done.get(deed, 0) + 1

    def done_within(self, child: "Knowledge") -> None:
        """What a sub-agent has done so far is done by this run."""
        for deed, times in child.done.items():
            self.done[deed] = max(times, self.done.get(deed, 0))
        self.changed |= child.changed

    def hear_within(self, step: str, child: "Knowledge") -> None:
        """A sub-agent has spoken: its words carry the label of all that it has read. They are a model's, so they name and link nothing."""
        self.context = self.context.meet(child.context).meet(msgspec.structs.replace(child.context, sources=frozenset((step,))))

    def change(self, values: Iterable[str]) -> None:
        """Effects happened to these things: what is seen of them from now on may be the run's own doing."""
        self.changed.update(value.casefold() for value in values)

    def see(self, step: str, card: Card, value: Value, *, sealed: bool = False) -> None:
        """A tool returned this. `sealed`: the model gets only a handle of it, so its own words don't come from it."""
        for record in _records(card, value):
            self._keep(Record(step, record), effect=card.effect is not None)
            if not sealed:
                for leaf in record:
                    self.context = self.context.meet(Label(leaf.writers, leaf.readers, frozenset((step,))))

    def _keep(self, record: Record, *, effect: bool) -> None:
        bare = Record("", record.leaves)
        if bare in self._seen:
            return
        self._seen.add(bare)
        self._named = None
        self.records.append(record)
        if self._is_called(record):
            self._called.append(record)
        if any(leaf.role == "amount" and leaf.writers >= Writers.OWN for leaf in record.leaves):
            self._booked.append(record)
        for leaf in record.leaves:
            low = leaf.value.casefold()
            if leaf.role == "handle":
                if effect and low not in self.handles:
                    self.made.add(low)
                self.handles.add(low)
                self._measure(low, record, effect=effect)
            for link in (*urls(leaf.value), *emails(leaf.value)):
                self.links[link] = max(leaf.writers, self.links.get(link, Writers.ANYONE))
            if leaf.writers >= Writers.INSIDE:
                self.inside.append(low)
            if leaf.writers >= Writers.SERVICE:
                self._learn_phrase(leaf)

    def _measure(self, handle: str, record: Record, *, effect: bool) -> None:
        """Sizes are taken as they were before the run changed anything, or not at all: else a run could make a thing the largest."""
        for leaf in record.of("size"):
            if leaf.number is None or effect or handle in self._sizes:
                continue
            if handle in self.changed:
                self._sizes_spoiled = True
            self._sizes[handle] = (leaf.number, record)

    def _learn_phrase(self, leaf: Leaf) -> None:
        phrase = tuple(words(leaf.value))
        if phrase and len(phrase) <= PHRASE_WORDS_MAX:
            known = self.phrases.setdefault(phrase[0], {})
            known[phrase] = min(leaf.readers, known.get(phrase, Readers.PERSON))

    def chosen(self, value: str) -> bool:
        """Whether the person chose exactly this: typed it, or gave leave to it."""
        return value.strip().casefold() in self.endorsed or self.request.typed(value)

    def stated(self, sentence: str) -> bool:
        """Whether the person said this as a whole, or gave leave to it: a piece of a sentence can mean the contrary."""
        return sentence.strip().casefold() in self.endorsed or self.request.states(sentence)

    def said_inside(self, value: str) -> bool:
        """Whether somebody of the person's own organisation wrote this."""
        low = value.strip().casefold()
        return bool(low) and any(holds(text, low) for text in self.inside)

    @property
    def named(self) -> "Named":
        """What the person's words name among the records."""
        if self._named is None:
            records = self._called + self._extreme()
            self._named = Named(
                frozenset(records),
                _values((record for record in records), "handle"),
                _values(_singled_out(records), "address"),
            )
        return self._named

    @property
    def booked(self) -> list[Record]:
        """The records of what was booked."""
        return self._booked

    def _is_called(self, record: Record) -> bool:
        request = self.request
        return (
            any(request.calls(leaf.value) for leaf in record.of("name"))
            or any(request.typed(leaf.value) for leaf in record.of("address"))
            or any(leaf.number in request.numbers for leaf in record.of("amount"))
        )

    def _extreme(self) -> list[Record]:
        """The largest thing, or the smallest, when the person means one; of two alike, neither."""
        sign = self.request.superlative
        if not sign or self._sizes_spoiled or not self._sizes:
            return []
        most = max(size * sign for size, _ in self._sizes.values())
        found = [record for size, record in self._sizes.values() if size * sign == most]
        return found if len(found) == 1 else []


def _values(records: Iterable[Record], role: FieldRole) -> frozenset[str]:
    return frozenset(leaf.value.casefold() for record in records for leaf in record.of(role) if leaf.writers >= Writers.OWN)


def _singled_out(named: list[Record]) -> list[Record]:
    """Those that a name means alone: where it fits several with addresses, it means none of them."""
    reachable = [record for record in named if any(True for _ in record.of("address"))]
    times = Counter(record.called for record in reachable)
    return [record for record in reachable if times[record.called] == 1]


def _records(card: Card, value: Value) -> Iterator[tuple[Leaf, ...]]:
    """One record for each object of the answer, and one for each value that stands in none."""
    if isinstance(value, dict):
        own: list[Leaf] = []
        for key, inner in value.items():
            own += _of_key(card, key)
            if _is_nest(inner):
                yield from _records(card, inner)
            else:
                field = card.field(key)
                for each in inner if isinstance(inner, list) else (inner,):
                    own += _leaf(field, each, value)
        yield tuple(own)
    elif isinstance(value, list):
        for inner in value:
            yield from _records(card, inner)
    else:
        leaf = tuple(_leaf(card.field(""), value, {}))
        if leaf:
            yield leaf


def _is_nest(value: Value) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value))


def _of_key(card: Card, key: str) -> Iterator[Leaf]:
    """A key that no field is named after is a value of its own: the name in a table by names."""
    if key not in card.fields and "*" in card.fields:
        yield from _leaf(card.fields["*"], key, {})


def _leaf(field: Field, value: Value, record: dict[str, Value]) -> Iterator[Leaf]:
    if value is None or isinstance(value, bool | dict | list) or value == "":
        return
    writers = field.writers
    if field.own_where is not None and said(record.get(field.own_where[0])) in field.own_where[1]:
        writers = Writers.OWN
    number = float(value) if isinstance(value, int | float) else None
    yield Leaf(said(value), field.role, writers, field.readers, number)
