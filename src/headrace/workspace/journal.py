"""What happened in a run, written first and then true: the whole log of a run, or the part of it that a sub-agent makes."""

from collections.abc import Callable
from typing import Protocol

from headrace.agents import Turn
from headrace.agents.events import Event, Within
from headrace.agents.tools import CARDS
from headrace.core.clock import Clock
from headrace.storage import RunLog


class Journal(Protocol):
    """`prefix` keeps the names of calls apart from those of other agents in the same log."""

    prefix: str
    events: list[Event]

    @property
    def turn(self) -> Turn: ...

    def add(self, event: Event, *, durable: bool = False) -> None:
        """It happened."""
        ...


class RunJournal:
    """The log of a run. `hear` is told each event once it is written."""

    prefix = ""

    def __init__(self, log: RunLog, clock: Clock, hear: Callable[[Event], None]) -> None:
        self._log, self._clock, self._hear = log, clock, hear
        self.turn = Turn(CARDS)
        self.events: list[Event] = []
        for entry in log.entries:
            self._fold(entry.event)

    def add(self, event: Event, *, durable: bool = False) -> None:
        self._log.append(event, self._clock.moment(), durable=durable)
        self._fold(event)
        self._hear(event)

    def _fold(self, event: Event) -> None:
        self.events.append(event)
        self.turn.add(event)


class JournalWithin:
    """The part of a journal that belongs to the sub-agent which `call` has started."""

    def __init__(self, above: Journal, call: str) -> None:
        self._above, self._call = above, call
        self.prefix = f"{call}/"
        self.events = [event.event for event in above.events if isinstance(event, Within) and event.call == call]

    @property
    def turn(self) -> Turn:
        turn = self._above.turn.within(self._call)
        assert turn is not None, "a sub-agent begins with its task"
        return turn

    def add(self, event: Event, *, durable: bool = False) -> None:
        self._above.add(Within(self._call, event), durable=durable)
        self.events.append(event)
