"""Who can have written a value, and who may read it: the two halves of a label, and how labels meet.

Both are short orders, so that two labels always have a meeting point: what is made of several values can have been written by the least
trusted of their writers, and may be read only by those who may read all of them. A label is only ever lowered by a meeting; nothing
that a model says raises one, since what a model says carries the meeting of all that it has read.
"""

from enum import IntEnum

import msgspec


class Writers(IntEnum):
    """Who can have chosen the value, from whom one need not trust to whom one serves."""

    ANYONE = 0
    """Whoever can send a mail, share a file or put up a page."""
    SERVICE = 1
    """A service that the person uses, in fields that it keeps itself: names in a catalogue, prices, addresses."""
    INSIDE = 2
    """People of the person's own organisation."""
    OWN = 3
    """The person's own records, in fields that the system keeps: identifiers, sizes, contacts, amounts that were booked."""
    PERSON = 4
    """The person, in this run: what they typed, picked, or gave leave to."""


class Readers(IntEnum):
    """Who may read the value, from everybody to the person alone. As the audience of an effect: who will read it."""

    ANYONE = 0
    INSIDE = 1
    PERSON = 2


class Label(msgspec.Struct, frozen=True, gc=False):
    """`sources` are the steps from which the value came, for the page that shows it."""

    writers: Writers
    readers: Readers
    sources: frozenset[str] = frozenset()

    def meet(self, other: "Label") -> "Label":
        """The label of what is made of both."""
        return Label(min(self.writers, other.writers), max(self.readers, other.readers), self.sources | other.sources)

    def may_reach(self, audience: Readers) -> bool:
        return self.readers <= audience


UNTOUCHED = Label(Writers.PERSON, Readers.ANYONE)
"""The label of nothing: meeting it changes nothing."""
