"""Whether a pool may be asked, and how much: what its answers and failures say about it.

    closed circuit ──too many failures──> open (nobody asks) ──after a while──> half open (one asks) ──it answers──> slow start ──> closed
                                            ↑                                        └──it fails: open again, for longer

That is the circuit breaker of the literature, where a closed circuit lets requests through; here the words are turned round to what they
mean for a request: a pool is `open` to requests or `closed` to them. A pool that says when to come back (429 with `retry-after`) is
closed until then, and that is no failure. One that has become much slower than its peers is ejected for a while (outliers).
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from headrace.core.clock import MS, Instant
from headrace.routing.board import Load

State: TypeAlias = Literal["open", "closed", "trying", "recovering"]
WEIGHT_NEW = 0.1
"""Of the newest observation in the moving averages."""
RETRY_AFTER_MS_MAX = 120_000


class HealthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a pool is closed to requests, for how long, and how it comes back.

    `failures_max` in a row close it, or `failure_share` of at least `samples_min` in the last `window_ms`. It stays closed for `closed_ms`,
    twice as long each time that the trial fails, up to `closed_ms_max`; then it takes from `slow_start_ms` to be given its full load again.
    `outlier_factor` times the median time to the first token of its peers ejects a pool; 0: never.
    """

    failures_max: int = 5
    failure_share: float = 0.5
    samples_min: int = 20
    window_ms: int = 10_000
    closed_ms: int = 2_000
    closed_ms_max: int = 60_000
    slow_start_ms: int = 10_000
    outlier_factor: float = 5.0
    overloaded_ms: int = 1_000

    def __post_init__(self) -> None:
        if min(self.failures_max, self.samples_min, self.window_ms, self.closed_ms, self.closed_ms_max, self.overloaded_ms) < 1:
            raise ValueError("health: failures_max, samples_min, window_ms, closed_ms, closed_ms_max and overloaded_ms are at least 1")
        if not 0 < self.failure_share <= 1:
            raise ValueError("health.failure_share is more than 0 and at most 1")
        if self.slow_start_ms < 0 or self.outlier_factor < 0:
            raise ValueError("health.slow_start_ms and health.outlier_factor are 0 or more")


class Health:
    """The health of one pool. It is told what happens, and keeps the pool's `load` so that `decide` need not ask."""

    def __init__(self, load: Load, concurrency_max: int, settings: HealthSettings) -> None:
        self.load, self._concurrency_max, self._settings = load, concurrency_max, settings
        self.state: State = "open"
        self.last_failure = ""
        self.samples = 0
        self._failures_in_row = 0
        self._closed_times = 0
        self._recovering_since: Instant = 0
        self._window_since: Instant = 0
        self._window_asked = self._window_failed = 0
        self._told_until: Instant = 0  # it said itself that it wants to be left alone so long
        load.limit = concurrency_max

    def change(self, concurrency_max: int, settings: HealthSettings) -> None:
        """The settings say something else now."""
        self._settings = settings
        if concurrency_max != self._concurrency_max:
            self._concurrency_max = self.load.limit = concurrency_max

    def asked(self, now: Instant) -> None:
        """A request goes there. When the pool was closed and its time is over, this is the trial: nobody else follows before it ends."""
        if self.state in ("closed", "trying"):  # again, when a trial has not ended in so long a time
            self.state = "trying"
            self._close("one request tries it", now + self._settings.closed_ms_max * MS)

    def answered(self, now: Instant, *, ttft_ms: float | None, duration_ms: float, tokens_out: int) -> None:
        """It answered to the end."""
        load = self.load
        self.samples += 1
        weight = WEIGHT_NEW if self.samples > 10 else 1.0 / self.samples
        first_ms, each_ms = load._ttft_ms, load._tpot_ms
        if ttft_ms is not None:
            first_ms += weight * (ttft_ms - first_ms)
            if tokens_out > 1:
                each_ms += weight * ((duration_ms - ttft_ms) / (tokens_out - 1) - each_ms)
        load.learn(first_ms, each_ms, load.service_ms + weight * (duration_ms - load.service_ms))
        self._failures_in_row = 0
        self._window_asked += 1
        if self.state != "open":
            self._recover(now)

    def alive(self, now: Instant) -> None:
        """A probe was answered: a pool that is closed for its failures may be tried at once, unless it has said when to come back."""
        if self.state == "closed" and self.load.closed_until > now:
            self.load.closed_until = max(now, self._told_until)

    def failed(self, now: Instant, why: str) -> None:
        """It broke, timed out, or could not be reached."""
        if now - self._window_since > self._settings.window_ms * MS:
            self._window_since, self._window_asked, self._window_failed = now, 0, 0
        self.last_failure = why
        if self.state == "closed":
            return  # it was sent before: it says nothing that is not known, and is no trial that failed
        self._failures_in_row += 1
        self._window_asked += 1
        self._window_failed += 1
        settings = self._settings
        too_many = self._window_asked >= settings.samples_min and self._window_failed >= settings.failure_share * self._window_asked
        if self.state != "open" or self._failures_in_row >= settings.failures_max or too_many:
            self._shut(now, why)

    def overloaded(self, now: Instant, retry_after_ms: int | None, why: str) -> None:
        """It says that it can't take more now: it is asked again when it said, or after a moment."""
        wait_ms = self._settings.overloaded_ms if retry_after_ms is None else min(retry_after_ms, RETRY_AFTER_MS_MAX)
        self.last_failure = why
        self._told_until = max(self._told_until, now + wait_ms * MS)
        until = self._told_until
        if self.state == "trying":
            self.state = "closed"
        else:
            until = max(until, self.load.closed_until)
        self._close(why, until)

    def abandoned(self, now: Instant) -> None:
        """The request ended without saying anything about the pool: its client left. A trial is free to be made again."""
        if self.state == "trying":
            self.state = "closed"
            self.load.closed_until = now

    def tick(self, now: Instant) -> None:
        """Called now and then: whoever rested is open again, and a pool that recovers is given more."""
        load = self.load
        if load._closed_until and load._closed_until <= now and self.state in ("open", "recovering"):
            load.closed_until, load.closed_for = 0, ""
        if self.state == "recovering":
            settings, since = self._settings, now - self._recovering_since
            span = settings.slow_start_ms * MS
            if since >= span:
                self.state, self.load.limit, self._closed_times = "open", self._concurrency_max, 0
            else:
                self.load.limit = max(1, self._concurrency_max * since // span)

    def eject(self, now: Instant, why: str) -> None:
        """Close it although it answers."""
        if self.state == "open":
            self._shut(now, why)

    def _shut(self, now: Instant, why: str) -> None:
        settings = self._settings
        self.state = "closed"
        closed_ms = min(settings.closed_ms << min(self._closed_times, 16), settings.closed_ms_max)
        self._close(why, max(now + closed_ms * MS, self._told_until))
        self._closed_times += 1
        self._failures_in_row = 0
        self._window_since, self._window_asked, self._window_failed = now, 0, 0
        self.load.limit = self._concurrency_max

    def _close(self, why: str, until: Instant) -> None:
        self.load.closed_until, self.load.closed_for = until, why

    def _recover(self, now: Instant) -> None:
        if self.state == "recovering":
            return
        if self._told_until <= now:
            self.load.closed_until, self.load.closed_for = 0, ""
        else:
            self.load.closed_until = self._told_until
        self.state, self._recovering_since = "recovering", now
        self.tick(now)


def outliers(peers: Sequence[Health], settings: HealthSettings) -> list[Health]:
    """Those whose time to the first token is `outlier_factor` times the median of all; never half of them or more."""
    seen = [one for one in peers if one.samples >= settings.samples_min and one.state == "open"]
    if len(seen) < 3 or not settings.outlier_factor:
        return []
    by_ttft = sorted(seen, key=lambda one: one.load.ttft_ms)
    median_ms = by_ttft[(len(by_ttft) - 1) // 2].load.ttft_ms
    slow = [one for one in by_ttft if one.load.ttft_ms > settings.outlier_factor * max(median_ms, 1.0)]
    return slow[-((len(seen) - 1) // 2) :]
