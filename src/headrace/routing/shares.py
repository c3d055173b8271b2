"""How much of the traffic each vendor has had lately, for those who may not have more than a part of it."""

from collections.abc import Mapping

from headrace.core.clock import SECOND, Instant

SLICES = 12


class Shares:
    """Tokens by vendor over a sliding window of `window_s`, which moves on by a twelfth. Shares of fewer than `tokens_min` mean nothing."""

    def __init__(self, caps: Mapping[str, float], *, window_s: int, tokens_min: int = 100_000) -> None:
        for vendor, cap in caps.items():
            if not 0 <= cap <= 1:
                raise ValueError(f"the share of vendor {vendor!r} is 0 to 1, not {cap}")
        self.caps = caps
        self._slice_ns, self._tokens_min = max(1, window_s * SECOND // SLICES), tokens_min
        self._slices: list[dict[str, int]] = [{}]
        self._number = 0

    def add(self, vendor: str, tokens: int, now: Instant) -> None:
        """`vendor` has served so many."""
        self._move(now)
        current = self._slices[-1]
        current[vendor] = current.get(vendor, 0) + tokens

    def over(self, now: Instant) -> frozenset[str]:
        """The vendors that have had more than their cap."""
        self._move(now)
        totals: dict[str, int] = {}
        for one in self._slices:
            for vendor, tokens in one.items():
                totals[vendor] = totals.get(vendor, 0) + tokens
        all_tokens = sum(totals.values())
        if all_tokens < self._tokens_min:
            return frozenset()
        return frozenset(vendor for vendor, cap in self.caps.items() if totals.get(vendor, 0) > cap * all_tokens)

    def _move(self, now: Instant) -> None:
        number = now // self._slice_ns
        missed = min(number - self._number, SLICES)
        if missed > 0:
            self._slices = [*self._slices, *({} for _ in range(missed))][-SLICES:]
            self._number = number
