"""A call on its way."""

from headrace.core.ask import Ask
from headrace.simulator.calls import Call


class Visit:
    """One call: which pools it was sent to, where it is, since when, and how long it stood in line."""

    __slots__ = ("ask", "call", "first_choice", "first_ms", "number", "since_ms", "site", "tried", "waited_ms")

    def __init__(self, number: int, call: Call, ask: Ask) -> None:
        self.number, self.call, self.ask = number, call, ask
        self.tried: tuple[str, ...] = ()
        self.site = -1
        self.since_ms = self.waited_ms = self.first_ms = 0.0
        self.first_choice = ""
