"""Traffic made from a seed: sources of each class with a day's rhythm over geographies, bursts, and sessions whose prompts grow.

A session is drawn whole when it begins: how many turns, what each adds, how long the answers are and how long is thought or worked with
tools between them. So the same seed asks the same of every policy and every fleet, whatever the answers' times.
"""

from bisect import bisect
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import accumulate
from math import cos, exp, log, pi
from random import Random

import msgspec

from headrace.core.identity import TrafficClass
from headrace.simulator.calls import Call
from headrace.simulator.chance import normals

HOUR_MS = 3_600_000.0
PEAK_HOUR = 15.0
SAME_MS = 10_000.0
"""For so long rates are taken to stay as they are."""
GEOGRAPHIES: tuple[str, ...] = ("na", "eu", "apac", "sa", "mea")
OFFSETS_H: tuple[float, ...] = (-6.0, 1.0, 8.0, -3.0, 3.0)
"""Of local time to UTC, about where most of each geography's people are."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Traffic of one kind.

    `sessions_per_s` begin on average over a day, `swing` of it up and down with local time, in bursts of coefficient of variation `cv`.
    The first prompt has `tokens_in` on average, and an answer `tokens_out`; both are log-normal with `spread` of the logarithm. Of each
    prompt `tokens_shared` are its tenant's. A session has `turns` on average (geometric); each adds `tokens_added` to what was said
    before, `think_s` after the answer. `weights` are by geography. `tokens_context_max` ends a session that grows too long.
    """

    name: str
    traffic_class: TrafficClass = msgspec.field(name="class")
    model: str
    sessions_per_s: float
    tokens_in: float
    tokens_out: float
    spread: float = 1.0
    tokens_shared: int = 0
    turns: float = 1.0
    tokens_added: float = 0.0
    think_s: float = 0.0
    swing: float = 0.5
    cv: float = 1.0
    tenants: int = 20
    weights: tuple[float, ...] = (0.45, 0.25, 0.22, 0.05, 0.03)
    tokens_context_max: int = 128_000

    def __post_init__(self) -> None:
        if self.sessions_per_s < 0 or self.tokens_in < 1 or self.tokens_out < 1 or self.turns < 1:
            raise ValueError(f"source {self.name!r}: sessions_per_s is 0 or more; tokens_in, tokens_out and turns are at least 1")
        if not 0 <= self.swing <= 1 or self.cv <= 0 or self.tenants < 1 or self.spread < 0:
            raise ValueError(f"source {self.name!r}: swing is 0 to 1, cv above 0, tenants at least 1, spread 0 or more")
        if len(self.weights) != len(GEOGRAPHIES) or min(self.weights) < 0 or sum(self.weights) <= 0:
            raise ValueError(f"source {self.name!r}: weights are {len(GEOGRAPHIES)} numbers, of {', '.join(GEOGRAPHIES)}")

    @property
    def calls_per_s(self) -> float:
        """On average over a day."""
        return self.sessions_per_s * self.turns

    @property
    def shape(self) -> tuple[float, float, float]:
        """Of its calls on average: tokens in, how many of them an endless cache would have, and tokens out. By calls, a turn of a session
        of a geometric number of them is the mean number less one; who would pass the context's end stays below it."""
        later = (self.turns - 1) * (self.tokens_added + self.tokens_out)
        tokens_in = min(self.tokens_in + later, self.tokens_context_max * 0.9)
        repeat = 1 - 1 / self.turns
        cached = repeat * max(0.0, tokens_in - self.tokens_added) + (1 - repeat) * self.tokens_shared
        return tokens_in, min(cached, tokens_in - 1), self.tokens_out

    def waves(self, at_ms: float, start_hour: float) -> list[float]:
        """Sessions a second at a moment, by geography."""
        hour, whole = start_hour + at_ms / HOUR_MS, sum(self.weights)
        return [
            self.sessions_per_s * weight / whole * (1 + self.swing * cos(2 * pi * (hour + offset - PEAK_HOUR) / 24))
            for weight, offset in zip(self.weights, OFFSETS_H, strict=True)
        ]

    def rate(self, at_ms: float, start_hour: float) -> float:
        """Sessions a second at a moment."""
        return sum(self.waves(at_ms, start_hour))


class Surge(msgspec.Struct, frozen=True, kw_only=True):
    """More of a source's sessions than usual for a while; of all sources with "" for `source`. With `tenant` all of them are one's own."""

    from_ms: float
    to_ms: float
    factor: float
    source: str = ""
    tenant: int | None = None


class Turn(msgspec.Struct, frozen=True, gc=False):
    """One call of a session, drawn ahead."""

    added: int
    tokens_out: int
    pause_ms: float


class Synthetic:
    """Traffic of several sources for `duration_ms`, from a seed. `scale` takes a part of it."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        seed: int,
        duration_ms: float,
        scale: float = 1.0,
        start_hour: float = 0.0,
        surges: Sequence[Surge] = (),
    ) -> None:
        self._sources, self._seed, self._duration_ms = tuple(sources), seed, duration_ms
        self._scale, self._start_hour, self._surges = scale, start_hour, tuple(surges)
        self._sessions: dict[int, tuple[int, list[Turn]]] = {}  # the most that its context holds, and what is to come, the last first
        self._middles = [
            tuple(_middle(mean, one.spread) for mean in (one.tokens_in - one.tokens_shared, one.tokens_out, one.tokens_added))
            for one in sources
        ]
        self._closed = any(source.turns > 1 for source in sources)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def expected(self) -> int:
        middle = self._duration_ms / 2
        return round(sum(one.rate(middle, self._start_hour) * one.turns for one in self._sources) * self._scale * self._duration_ms / 1_000)

    def calls(self) -> Iterator[Call]:
        return merge(*(self._of(at, source) for at, source in enumerate(self._sources)), key=lambda call: call.at_ms)

    def after(self, call: Call, ended_ms: float, *, answered: bool) -> Call | None:
        held = self._sessions.get(call.session)
        if held is None:
            return None
        tokens_context_max, turns = held
        turn = turns.pop()
        tokens_in = call.tokens_in + call.tokens_out + turn.added
        over = not answered or tokens_in > tokens_context_max
        if over or not turns:
            del self._sessions[call.session]
        if over:
            return None
        shared, tokens_shared = call.segments[0]
        return Call(
            ended_ms + turn.pause_ms,
            call.traffic_class,
            call.model,
            call.tenant,
            call.geography,
            tokens_in,
            turn.tokens_out,
            ((shared, tokens_shared), (call.affinity, tokens_in - tokens_shared)),
            call.affinity,
            True,
            call.session,
        )

    def _of(self, number: int, source: Source) -> Iterator[Call]:
        """The first calls of a source's sessions."""
        rng = Random(self._seed * 1_000_003 + number)
        normal = normals(rng)
        shape, at_ms, session, known_ms = 1 / source.cv**2, 0.0, 0, -1.0
        bounds: list[float] = []
        per_ms = 0.0
        if not source.sessions_per_s:
            return
        while True:
            if at_ms >= known_ms:  # a day's rhythm is the same for a while
                waves = source.waves(at_ms, self._start_hour)
                known_ms, per_ms, bounds = at_ms + SAME_MS, sum(waves) * self._scale / 1_000, [*accumulate(waves)]
            factor, tenant = self._surge(source, at_ms) if self._surges else (1.0, None)
            at_ms += rng.gammavariate(shape, 1 / shape) / max(per_ms * factor, 1e-12)
            if at_ms >= self._duration_ms:
                return
            session += 1
            whose = min(int(source.tenants * rng.random() ** 2), source.tenants - 1)  # some ask more than others
            if tenant is not None and rng.random() < 1 - 1 / factor:
                whose = tenant
            geography = bisect(bounds, rng.random() * bounds[-1], 0, len(bounds) - 1)
            yield self._first(source, number, session, at_ms, whose, geography, rng, normal)

    def _first(
        self, source: Source, number: int, session: int, at_ms: float, tenant: int, geography: int, rng: Random, normal: Iterator[float]
    ) -> Call:
        key = (number + 1) << 40 | session
        shared = (number + 1) << 40 | 1 << 36 | tenant
        mid_in, mid_out, mid_added = self._middles[number]
        spread = source.spread
        tokens_in = min(source.tokens_shared + _lognormal(normal, mid_in, spread), source.tokens_context_max // 2)
        tokens_out = _lognormal(normal, mid_out, spread)
        if source.turns > 1:
            stay, turns = 1 - 1 / source.turns, list[Turn]()
            while rng.random() < stay:
                added, said = _lognormal(normal, mid_added, spread), _lognormal(normal, mid_out, spread)
                turns.append(Turn(added, said, rng.expovariate(1 / (source.think_s * 1_000)) if source.think_s else 0.0))
            if turns:
                turns.reverse()
                self._sessions[key] = source.tokens_context_max, turns
        tokens_shared = min(source.tokens_shared, tokens_in - 1)
        segments = ((shared, tokens_shared), (key, tokens_in - tokens_shared))
        return Call(
            at_ms,
            source.traffic_class,
            source.model,
            tenant,
            geography,
            tokens_in,
            tokens_out,
            segments,
            key if source.turns > 1 else shared if source.tokens_shared else 0,
            source.turns > 1,
            key if key in self._sessions else -1,
        )

    def _surge(self, source: Source, at_ms: float) -> tuple[float, int | None]:
        factor, tenant = 1.0, None
        for one in self._surges:
            if one.from_ms <= at_ms < one.to_ms and one.source in ("", source.name):
                factor *= one.factor
                tenant = one.tenant if one.tenant is not None else tenant
        return factor, tenant


def _middle(mean: float, spread: float) -> float | None:
    """The logarithm of the median of a log-normal of this mean; None: there is nothing to draw."""
    return log(mean) - spread * spread / 2 if mean >= 1 else None


def _lognormal(normal: Iterator[float], middle: float | None, spread: float) -> int:
    """At least 1 and at most `TOKENS_MOST`."""
    if middle is None:
        return 1
    tokens = round(exp(middle + spread * next(normal)))
    return 1 if tokens < 1 else tokens if tokens < TOKENS_MOST else TOKENS_MOST


TOKENS_MOST = 64_000
