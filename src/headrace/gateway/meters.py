"""Limits beside those of the key: how many requests and tokens a minute and a day, and how many at once, for an organisation, a project,
a key, a user, a session, a model or a class, or for each of them.

A request is taken from all limits that hold for it, or from none. The workers of one server share each limit as they share those of
keys; hosts that share a store have an equal part of it each, which is also what they keep to while they can't hear of each other.
"""

from collections.abc import Iterable, Mapping

import msgspec

from headrace.core.ask import Ask
from headrace.core.clock import MS, Instant
from headrace.core.errors import RateLimited
from headrace.gateway.neighbours import Neighbours, OfKey, OfPool
from headrace.metering import DAY_WINDOW, MINUTE, Granted, Limit, Limiter, Refused, Whom, asker_of, instances

WAYS_MAX = 20_000
METERS_MAX = 100_000
"""So many are kept at once; then those at rest are forgotten."""
DURATION_MS = 1_000.0
"""How long a request is taken to last before any has ended."""
Left = dict[str, tuple[int, int, int]]


class Gauge:
    """One limiter and what the other workers took of it."""

    __slots__ = ("_shared", "limiter", "window_name")

    def __init__(self, limiter: Limiter, shared: OfKey | None, window_name: str) -> None:
        self.limiter, self._shared, self.window_name = limiter, shared, window_name

    def room(self, now: Instant, tokens: int) -> Refused | None:
        if self._shared is not None and (news := self._shared.news()):
            self.limiter.heard(now, *news)
        return self.limiter.room(now, tokens)

    def take(self, now: Instant, tokens: int) -> Granted:
        granted = self.limiter.take(now, tokens)
        assert isinstance(granted, Granted), "there was room in this very moment"
        if self._shared is not None:
            self._shared.add(1, tokens, 0, self.limiter.paid_at)
        return granted

    def give_back(self, now: Instant, tokens: int, granted: Granted) -> None:
        back = self.limiter.give_back(now, tokens, granted)
        if self._shared is not None:
            self._shared.add(0, max(0, -back), max(0, back), self.limiter.paid_at)


class Meter:
    """One instance of one limit."""

    __slots__ = ("_cells", "concurrent_max", "duration_ms", "gauges", "inflight", "instance", "limit")

    def __init__(self, limit: Limit, instance: str, hosts: int, now: Instant, neighbours: Neighbours | None) -> None:
        self.limit, self.instance = limit, instance
        name = f"limit:{limit.name}:{instance}"
        self.gauges = tuple(
            Gauge(
                Limiter(requests_per_minute=requests, tokens_per_minute=tokens, now=now, window=window),
                None if neighbours is None else neighbours.key(f"{name}:{window_name}"),
                window_name,
            )
            for window, window_name, requests, tokens in _windows(limit, hosts)
        )
        self.inflight, self.duration_ms = 0, DURATION_MS
        self.concurrent_max = part_of(limit.concurrent, hosts)
        self._cells: OfPool | None = None if neighbours is None or limit.concurrent is None else neighbours.pool(name)

    @property
    def at_work(self) -> int:
        return self.inflight + (self._cells.others()[0] if self._cells is not None else 0)

    def begin(self) -> None:
        self.inflight += 1
        if self._cells is not None:
            self._cells.tell(self.inflight, 0)

    def end(self, duration_ms: float) -> None:
        self.inflight -= 1
        self.duration_ms += (duration_ms - self.duration_ms) / 8
        if self._cells is not None:
            self._cells.tell(self.inflight, 0)


class Taken(msgspec.Struct, frozen=True):
    """What a request has taken of one limit."""

    meter: Meter
    grants: tuple[tuple[Gauge, Granted], ...]


class Meters:
    """All limits of one worker that are not a key's own."""

    def __init__(self, neighbours: Neighbours | None) -> None:
        self._neighbours = neighbours
        self._limits: tuple[Limit, ...] = ()
        self.hosts = 1
        self._meters: dict[tuple[str, str], Meter] = {}
        self._ways: dict[tuple[str, str, str, str, str], tuple[Meter, ...]] = {}

    def change(self, limits: Iterable[Limit]) -> None:
        """These hold from now on. A limit that stays goes on with what was taken of it."""
        self._limits, self._ways = tuple(limits), {}
        self._resize()

    def share(self, hosts: int) -> None:
        """So many hosts share the limits."""
        if hosts != self.hosts:
            self.hosts = hosts
            self._resize()

    def _resize(self) -> None:
        by_name = {limit.name: limit for limit in self._limits}
        for (name, instance), meter in tuple(self._meters.items()):
            limit = by_name.get(name)
            if name.startswith("key:"):
                limit = meter.limit
            if limit is None or _shape(limit) != _shape(meter.limit):
                del self._meters[name, instance]
                continue
            meter.limit, meter.concurrent_max = limit, part_of(limit.concurrent, self.hosts)
            for gauge, (_, _, requests, tokens) in zip(meter.gauges, _windows(limit, self.hosts), strict=True):
                gauge.limiter.requests_per_minute, gauge.limiter.tokens_per_minute = requests, tokens

    def of(self, ask: Ask, now: Instant) -> tuple[Meter, ...]:
        """Those that hold for a request."""
        if not self._limits and not ask.principal.key_limits:
            return ()
        kind = ask.principal.key, ask.model, ask.traffic_class, ask.user, ask.session
        found = self._ways.get(kind)
        if found is None:
            if len(self._ways) >= WAYS_MAX:
                self._ways.clear()
                self._forget(now)
            found = self._ways[kind] = self._find(ask, now)
        return found

    def _find(self, ask: Ask, now: Instant) -> tuple[Meter, ...]:
        asker = asker_of(ask)
        found = []
        minted = [
            Limit(name=f"key:{key}", whom=Whom(), requests_per_minute=requests, tokens_per_minute=tokens)
            for key, requests, tokens in ask.principal.key_limits
        ]
        for limit in (*self._limits, *minted):
            for instance in instances(limit.whom, asker):
                meter = self._meters.get((limit.name, instance))
                if meter is None:
                    meter = self._meters[limit.name, instance] = Meter(limit, instance, self.hosts, now, self._neighbours)
                found.append(meter)
        return tuple(found)

    def _forget(self, now: Instant) -> None:
        """Of users and sessions that have not asked for so long that all is there again, nothing need be kept."""
        if len(self._meters) < METERS_MAX:
            return
        for name, meter in tuple(self._meters.items()):
            if not meter.inflight and all(max(gauge.limiter.paid_at) <= now for gauge in meter.gauges):
                del self._meters[name]


def check(meters: tuple[Meter, ...], ask: Ask, tokens: int, now: Instant) -> None:
    """Raise RateLimited where one of them has no room; nothing is taken."""
    for meter in meters:
        if meter.concurrent_max is not None and meter.at_work >= meter.concurrent_max:
            wait_ms = max(50, round(meter.duration_ms / meter.concurrent_max))
            raise RateLimited(
                f"Rate limit reached{_of(meter)} on concurrent requests: Limit {meter.concurrent_max}. Please try again in {wait_ms} ms.",
                kind="requests",
                retry_after_ms=wait_ms,
            )
        for gauge in meter.gauges:
            refused = gauge.room(now, tokens)
            if refused is not None:
                raise _limited(meter, gauge, refused, tokens)


def take(meters: tuple[Meter, ...], tokens: int, now: Instant) -> tuple[Taken, ...]:
    """Take a request and its bound from all of them, in the moment in which `check` found room."""
    taken = []
    for meter in meters:
        meter.begin()
        taken.append(Taken(meter, tuple((gauge, gauge.take(now, tokens)) for gauge in meter.gauges)))
    return tuple(taken)


def give_back(taken: tuple[Taken, ...], unused: int, now: Instant, began: Instant) -> None:
    """The request is over, and used so much less than its bound."""
    for one in taken:
        one.meter.end((now - began) / MS)
        for gauge, granted in one.grants:
            gauge.give_back(now, unused, granted)


def left_of_all(taken: tuple[Taken, ...], own: Mapping[str, tuple[int, int, int]]) -> Left:
    """Of requests and tokens, what the scarcest limit leaves: the key's `own`, or one of these."""
    left = dict(own)
    for one in taken:
        for gauge, granted in one.grants:
            _scarcest(left, _left(gauge.limiter, granted))
    return left


def _left(limiter: Limiter, said: Granted | Refused) -> Left:
    left: Left = {}
    if limiter.requests_per_minute is not None:
        left["requests"] = (limiter.requests_per_minute, said.remaining_requests or 0, said.reset_requests_ms or 0)
    if limiter.tokens_per_minute is not None:
        left["tokens"] = (limiter.tokens_per_minute, said.remaining_tokens or 0, said.reset_tokens_ms or 0)
    return left


def _scarcest(left: Left, other: Left) -> None:
    for name, value in other.items():
        if name not in left or value[1] < left[name][1]:
            left[name] = value


def _limited(meter: Meter, gauge: Gauge, refused: Refused, tokens: int) -> RateLimited:
    limiter = gauge.limiter
    limit = limiter.requests_per_minute if refused.kind == "requests" else limiter.tokens_per_minute
    wanted = f", Requested {tokens}" if refused.kind == "tokens" else ""
    remedy = "Ask for fewer tokens." if refused.retry_after_ms is None else f"Please try again in {refused.retry_after_ms} ms."
    return RateLimited(
        f"Rate limit reached{_of(meter)} on {refused.kind} per {gauge.window_name}: Limit {limit}{wanted}. {remedy}",
        kind=refused.kind,
        retry_after_ms=refused.retry_after_ms,
        left=_left(limiter, refused),
    )


def _of(meter: Meter) -> str:
    return f" by {meter.limit.name}" + (f" of {meter.instance}" if meter.instance else "")


def part_of(limit: int | None, hosts: int) -> int | None:
    """One host's part; at least 1, so with more hosts than that the limit is their number."""
    return None if limit is None else max(1, limit // hosts)


def _windows(limit: Limit, hosts: int) -> list[tuple[int, str, int | None, int | None]]:
    windows = [
        (MINUTE, "min", part_of(limit.requests_per_minute, hosts), part_of(limit.tokens_per_minute, hosts)),
        (DAY_WINDOW, "day", part_of(limit.requests_per_day, hosts), part_of(limit.tokens_per_day, hosts)),
    ]
    return [one for one in windows if one[2:] != (None, None)]


def _shape(limit: Limit) -> tuple[bool, ...]:
    """What is limited at all: while that stays, a meter can be resized."""
    amounts = limit.requests_per_minute, limit.tokens_per_minute, limit.requests_per_day, limit.tokens_per_day, limit.concurrent
    return tuple(amount is not None for amount in amounts)
