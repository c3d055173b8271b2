"""Stop texts: an answer ends before the first of them, however its tokens cut it."""

from collections.abc import Sequence


class StopWatch:
    """Lets text through up to a stop text. What may still become one is held back, never more than its length less one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """What may be said now. After a stop text was met, nothing more is."""
        if not self._stops or self.stopped:
            return "" if self.stopped else text
        seen = self._held + text
        met = [at for at in (seen.find(stop) for stop in self._stops) if at >= 0]
        if met:
            self.stopped, self._held = True, ""
            return seen[: min(met)]
        keep = max(self._overlap(seen, stop) for stop in self._stops)
        self._held = seen[len(seen) - keep :]
        return seen[: len(seen) - keep]

    def end(self) -> str:
        """What was held and turned out to be no stop text."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(seen: str, stop: str) -> int:
        """How many of the last characters of `seen` begin `stop`."""
        for size in range(min(len(stop) - 1, len(seen)), 0, -1):
            if seen.endswith(stop[:size]):
                return size
        return 0
