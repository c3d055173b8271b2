"""What must hold in every run, kept apart from what runs: each call is told here as it goes, and at the end the books must close."""

import msgspec

from headrace.core.identity import TrafficClass


class Broken(AssertionError):
    """A law of the simulation does not hold: a fault of the program, never of the input."""


class Entry(msgspec.Struct, gc=False):
    """A call that is on its way."""

    traffic_class: TrafficClass
    at_ms: float
    tokens_in: int
    attempts: int = 0


class Checker:
    """served + refused + cut + in flight = arrived; nobody is answered before asking; nothing is counted twice; tokens and money add up."""

    def __init__(self) -> None:
        self._open: dict[int, Entry] = {}
        self._last_ms = 0.0
        self.arrived = self.served = self.refused = self.cut = 0
        self.tokens_in = self.tokens_cached = self.tokens_out = self.cost_pico = 0

    def came(self, number: int, traffic_class: TrafficClass, at_ms: float, tokens_in: int) -> None:
        if at_ms < self._last_ms:
            raise Broken(f"time went back from {self._last_ms} to {at_ms} ms")
        self._last_ms = at_ms
        if number in self._open:
            raise Broken(f"call {number} came twice")
        self._open[number] = Entry(traffic_class, at_ms, tokens_in)
        self.arrived += 1

    def sent(self, number: int, inflight: int, limit: int) -> None:
        entry = self._open.get(number)
        if entry is None:
            raise Broken(f"call {number} was sent and is not on its way")
        if inflight > limit:
            raise Broken(f"call {number} was sent where {inflight} of at most {limit} are in flight")
        entry.attempts += 1

    def answered(self, number: int, first_ms: float, ended_ms: float, hit: int, tokens_out: int, cost_pico: int) -> None:
        entry = self._open.pop(number, None)
        if entry is None:
            raise Broken(f"call {number} was answered and is not on its way")
        if not entry.at_ms <= first_ms <= ended_ms:
            raise Broken(f"call {number} came at {entry.at_ms}, had its first token at {first_ms} and its last at {ended_ms}")
        if not 0 <= hit <= entry.tokens_in or tokens_out < 1 or cost_pico < 0 or not entry.attempts:
            raise Broken(f"call {number}: {hit} of {entry.tokens_in} tokens cached, {tokens_out} out, {cost_pico} pico-USD")
        self.served += 1
        self.tokens_in += entry.tokens_in
        self.tokens_cached += hit
        self.tokens_out += tokens_out
        self.cost_pico += cost_pico

    def ended(self, number: int, *, heard: bool) -> None:
        """Without an answer; `heard`: it had begun."""
        if self._open.pop(number, None) is None:
            raise Broken(f"call {number} ended and is not on its way")
        if heard:
            self.cut += 1
        else:
            self.refused += 1

    def close(self, *, inflight: int, waiting: int) -> None:
        """The books close: whoever is on its way is at a pool or in a line."""
        if len(self._open) != inflight + waiting:
            raise Broken(f"{len(self._open)} calls are on their way, and {inflight} in flight with {waiting} waiting")
        if self.served + self.refused + self.cut + len(self._open) != self.arrived:
            raise Broken("served + refused + cut + on their way is not what arrived")

    def compare(self, what: str, said: int, counted: int) -> None:
        """The report's own sum against what was counted here."""
        if said != counted:
            raise Broken(f"{what}: the report says {said}, and {counted} were counted")
