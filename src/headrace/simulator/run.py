"""An hour, or a day, on a virtual clock: the story of every call, from arrival to its last token, by the rules of the live gateway.

    arrive ──► limits ──► decide ──► (wait in line) ──► at a pool ──► done: told to health, to the session, to the books
                            ▲                              └─ failed before its first token ─┐
                            └──────────────── decide again, without who was tried ───────────┘

`decide` is the gateway's own, with its board, lines, health, retry budget and vendor shares; only who answers is modelled. Events come
from one heap and from the fleet, which is asked to run up to the next of them. Chance has a stream for placement and one for vendors, so
that a change of policy draws the same traffic. Every call is told to the checker too, and the books must close at the end.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import takewhile
from math import inf
from random import Random
from typing import Literal, TypeAlias

import msgspec

from headrace.core.ask import Ask
from headrace.core.clock import MS, Instant
from headrace.core.identity import Principal, TrafficClass
from headrace.core.rules import NO_RULES, Rules
from headrace.metering import Limiter, Refused
from headrace.portfolio import ModelProfile, TokenCost, snapshot
from headrace.routing import (
    CLASSES,
    POLICIES,
    VERDICTS,
    Board,
    Choice,
    HealthSettings,
    Place,
    Refuse,
    RetryBudget,
    Send,
    Shares,
    Wait,
    decide,
    outliers,
)
from headrace.simulator.calls import Call, Workload
from headrace.simulator.chance import normals
from headrace.simulator.checks import Broken, Checker
from headrace.simulator.faults import Demand, Fault, NewRule, Outage, PriceChange, Scope, Slow
from headrace.simulator.fleet import Done, Fleet
from headrace.simulator.report import Report
from headrace.simulator.room import Room, Waiter, leave, stand
from headrace.simulator.settings import RunSettings
from headrace.simulator.sites import RTT_MS, Counter, Site
from headrace.simulator.synthetic import GEOGRAPHIES
from headrace.simulator.tally import OfClass, OfPool, OverTime
from headrace.simulator.training import Gang, Idle, Job, Jobs
from headrace.simulator.visit import Visit

__all__ = ["Broken", "Progress", "Run", "RunSettings"]

BYTES_A_TOKEN = 4
"""Of a prompt, as the gateway sees it: it counts bytes."""
JOBS_EVERY_MS = 60_000.0
PROGRESS_EVERY_MS = 10_000.0
MANY = 4_096
Progress: TypeAlias = Callable[[float, int], None]
Why: TypeAlias = Literal[
    "model_not_found", "forbidden", "incapable", "context", "closed", "late", "tried", "full", "limited", "failed", "shed"
]


class Run:
    """One run. `fleet` holds the blocks of those sites that have one, in their order."""

    def __init__(
        self,
        settings: RunSettings,
        sites: Sequence[Site],
        fleet: Fleet,
        workload: Workload,
        *,
        faults: Sequence[Fault] = (),
        jobs: Sequence[Job] = (),
        health: HealthSettings | None = None,
    ) -> None:
        self.settings, self.sites, self.fleet, self.workload = settings, tuple(sites), fleet, workload
        self._health = health if health is not None else HealthSettings()
        self.rooms = {site.pool.name: Room(site.pool, self._health, at) for at, site in enumerate(sites)}
        self._room_of = tuple(self.rooms.values())
        self._block_of: list[int] = []
        for site in sites:
            self._block_of.append(-1 if site.block is None else sum(1 for at in self._block_of if at >= 0))
        self._counters = {at: Counter(site) for at, site in enumerate(sites) if site.vendor is not None}
        self._costs = [self._cost(site) for site in sites]
        self._version = 0
        self._board = self._new_board()
        self._policy = POLICIES[settings.policy]
        self._chance, self._vendor_chance = Random(settings.seed), normals(Random(settings.seed + 1))
        self._retries = RetryBudget(settings.retry_share)
        self._shares = Shares(settings.vendor_share_max, window_s=3_600)
        self._limiters: dict[int, Limiter] = {}
        self._principals: dict[tuple[int, str], Principal] = {}
        self._rules: list[tuple[NewRule, Rules]] = []
        self._watched = settings.watch
        self._closed, self._limited = workload.closed, bool(settings.tenant_requests_per_minute or settings.tenant_tokens_per_minute)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._event_count = self._arrived = 0
        self._by_slot: dict[int, Visit] = {}
        self._at_vendor: dict[int, Visit] = {}
        self._hanging: set[int] = set()
        self._waiting: dict[int, Visit] = {}
        self._down: dict[int, int] = {}
        self._down_since_fails_ms: dict[int, float] = {}
        self._compared_ms = 0.0
        self._end_ms = settings.duration_s * 1_000
        self._jobs = Jobs(jobs)
        self._gang_replicas: set[int] = set()
        self.checker = Checker()
        self.classes = {name: OfClass() for name in CLASSES}
        self.pools = [OfPool(site) for site in sites]
        self.over_time = OverTime(settings.slice_s, len(sites))
        self.story: list[str] = []
        self._before: tuple[dict[TrafficClass, OfClass], list[OfPool]] = ({}, [])
        for fault in faults:
            self._plan(fault)

    # The order of things.

    def go(self, progress: Progress | None = None) -> Report:
        """Until the last call that came in time has its answer. Raises Broken, with what repeats it, when a law does not hold."""
        try:
            return self._play(progress)
        except Broken as broken:
            settings = self.settings
            again = f"seed={settings.seed} policy={settings.policy} scale={settings.scale:g} duration_s={settings.duration_s:g}"
            raise Broken(f"{settings.name}, {again}: {broken}") from None

    def _play(self, progress: Progress | None) -> Report:
        end_ms = self._end_ms
        arrivals = takewhile(lambda call: call.at_ms < end_ms, self.workload.calls())
        coming = next(arrivals, None)
        self._at(0.0, self._tick)
        if self._jobs.jobs:
            self._at(0.0, self._look_at_jobs)
        if self.settings.settle_s:
            self._at(self.settings.settle_s * 1_000, self._settle)
        shown_ms = 0.0
        fleet, events = self.fleet, self._events
        while True:
            event_ms = events[0][0] if events else inf
            next_ms = coming.at_ms if coming is not None else inf
            due_ms = event_ms if event_ms <= next_ms else next_ms
            if fleet.next_ms <= due_ms and self._let_run(due_ms):
                continue  # somebody is done, and may have been followed by another before what was due
            if due_ms == inf:
                break
            if event_ms <= next_ms:
                _, _, happen = heappop(events)
                happen(event_ms)
            elif coming is not None:
                self._arrive(coming)
                coming = next(arrivals, None)
            if progress is not None and due_ms - shown_ms >= PROGRESS_EVERY_MS:
                shown_ms = due_ms
                progress(min(1.0, due_ms / end_ms), self._arrived)
        return self._close()

    def _let_run(self, until_ms: float) -> bool:
        """Let the fleet work until then, and hear who is done: all at once only where nothing follows from it before `until_ms`."""
        done = self.fleet.run(until_ms, 1 if self._closed or self._waiting else MANY)
        for one, visit in [(one, self._by_slot.pop(one.slot)) for one in done]:
            self._done_at_replica(one, visit)
        return bool(done)

    def _arrive(self, call: Call) -> None:
        number, self._arrived = self._arrived, self._arrived + 1
        now = int(call.at_ms * MS)
        ask = self._ask(number, call)
        visit = Visit(number, call, ask)
        self.checker.came(number, call.traffic_class, call.at_ms, call.tokens_in)
        self.classes[call.traffic_class].arrived += 1
        self.over_time.at(call.at_ms)[0].arrived += 1
        if number == self._watched:
            self._tell(visit, call.at_ms, f"comes: {call.traffic_class}, {call.model}, {call.tokens_in:,} tokens in, tenant {call.tenant}")
        if self._limited and not self._within_limits(call, now):
            self._refuse(visit, call.at_ms, "limited")
            return
        self._retries.earn()
        self._place(visit, call.at_ms, failed=False)

    def _place(self, visit: Visit, at_ms: float, *, failed: bool) -> None:
        """Decide, and send it, let it wait, or refuse it."""
        now = int(at_ms * MS)
        decided = decide(visit.ask, self._board, now, self._chance, self._policy, visit.tried)
        if visit.number == self._watched:
            self._tell_decision(visit, at_ms, decided)
        if failed and not (isinstance(decided, Send) and self._retries.spend()):
            self._refuse(visit, at_ms, "failed")
            return
        if isinstance(decided, Send):
            room = self.rooms[decided.choice.pool.name]
            room.take(now)
            if failed:
                self.classes[visit.call.traffic_class].retried += 1
            self._send(visit, room, at_ms)
        elif isinstance(decided, Wait):
            self._wait(visit, decided.choices, at_ms, now)
        else:
            self._refuse(visit, at_ms, decided.reason)

    def _send(self, visit: Visit, room: Room, at_ms: float) -> None:
        """To a pool in which a place is taken."""
        pool, at = room.pool, room.site
        name = pool.name
        self.checker.sent(visit.number, room.inflight, pool.concurrency_max)
        visit.tried = (*visit.tried, name)
        visit.site, visit.since_ms = at, at_ms
        visit.first_choice = visit.first_choice or name
        call = visit.call
        if visit.number == self._watched:
            self._tell(visit, at_ms, f"goes to {name}")
        if self._block_of[at] < 0:
            self._ask_vendor(visit, at, at_ms)
            return
        slot = self.fleet.submit(
            at_ms, self._block_of[at], call.tokens_in, call.tokens_out, call.segments, affinity=call.affinity & 0x7FFFFFFF, grows=call.grows
        )
        if slot >= 0:
            self._by_slot[slot] = visit
        else:
            self._hang(visit, at, at_ms)

    def _ask_vendor(self, visit: Visit, at: int, at_ms: float) -> None:
        call = visit.call
        if self._down.get(at):
            self._hang(visit, at, at_ms)
            return
        said = self._counters[at].ask(int(at_ms * MS), call.tokens_in, call.tokens_out, call.segments, self._vendor_chance)
        if isinstance(said, int):
            self._tell(visit, at_ms, f"{self.sites[at].pool.name} says: not before {said:,} ms")
            self._room_of[at].health.overloaded(int(at_ms * MS), said, "over the account's limit")
            self._failed(visit, at_ms, heard=False, counted=False)
            return
        first_ms, last_ms, hit = said
        visit.first_ms = at_ms + first_ms
        self._at_vendor[visit.number] = visit
        self._at(at_ms + last_ms, partial(self._done_at_vendor, visit, len(visit.tried), hit))

    def _hang(self, visit: Visit, at: int, at_ms: float) -> None:
        """Nobody there: it fails once that is noticed."""
        self._hanging.add(visit.number)

        def notice(now_ms: float) -> None:
            self._hanging.discard(visit.number)
            self._failed(visit, now_ms, heard=False)

        self._at(at_ms + self._down_since_fails_ms.get(at, 1.0), notice)

    def _failed(self, visit: Visit, at_ms: float, *, heard: bool, counted: bool = True) -> None:
        """An attempt ended without its answer."""
        room, now = self._room_of[visit.site], int(at_ms * MS)
        self.pools[visit.site].failed += 1
        self._tell(visit, at_ms, f"fails at {room.pool.name}{', having been heard' if heard else ''}")
        if counted:
            room.health.failed(now, "it can't be reached")
        self._call_in(room.free(now), room, at_ms)
        if heard:
            self._cut_off(visit, at_ms)
        elif len(visit.tried) >= self.settings.attempts_max:
            self._refuse(visit, at_ms, "failed")
        else:
            self._place(visit, at_ms, failed=True)

    # Waiting.

    def _wait(self, visit: Visit, choices: Sequence[Choice], at_ms: float, now: Instant) -> None:
        """Stand in the lines of all that could serve it, unless the wait would be too long."""
        terms = self._board.classes[visit.call.traffic_class]
        rooms = [self.rooms[choice.pool.name] for choice in choices]
        if min(room.expected_wait_ms(terms.priority) for room in rooms) > terms.wait_ms_max:
            self._refuse(visit, at_ms, "full")
            return
        place = Place(
            Waiter(visit.number),
            tenant=str(visit.call.tenant),
            priority=terms.priority,
            leaves_at=now + terms.wait_ms_max * MS,
            idle_share=terms.idle_share,
        )
        stands, gone = stand(place, rooms)
        for one in gone:
            shed = self._waiting.pop(one.who.number)
            self._refuse(shed, at_ms, "shed")
        if not stands:
            self._refuse(visit, at_ms, "full")
            return
        visit.since_ms = at_ms
        self._waiting[visit.number] = visit
        self._tell(visit, at_ms, f"stands in line at {', '.join(room.pool.name for room in place.who.rooms)}")

        def give_up(now_ms: float) -> None:
            if self._waiting.pop(visit.number, None) is not None:
                leave(place)
                self._refuse(visit, now_ms, "full")

        self._at(at_ms + terms.wait_ms_max, give_up)

    def _call_in(self, called: Sequence[Place[Waiter]], room: Room, at_ms: float) -> None:
        for place in called:
            visit = self._waiting.pop(place.who.number)
            visit.waited_ms += at_ms - visit.since_ms
            self._tell(visit, at_ms, f"is called in at {room.pool.name} after {at_ms - visit.since_ms:,.1f} ms")
            self._send(visit, room, at_ms)

    # Ends.

    def _done_at_replica(self, one: Done, visit: Visit) -> None:
        block = self.sites[visit.site].block
        assert block is not None
        first_ms = block.service.first_ms
        if visit.number == self._watched:
            begins = f"replica {one.replica} begins, {one.hit:,} tokens of the prompt are cached"
            self._tell(visit, one.started_ms, begins)
            self._tell(visit, one.first_ms + first_ms, f"its first token, {one.preempted} times sent back")
        self._done(visit, one.first_ms + first_ms, one.finished_ms, one.hit, late_ms=first_ms)

    def _done_at_vendor(self, visit: Visit, attempt: int, hit: int, now_ms: float) -> None:
        """Unless the vendor went down in between: then it was sent elsewhere, which is another attempt, or is over."""
        if len(visit.tried) == attempt and self._at_vendor.pop(visit.number, None) is not None:
            self._done(visit, visit.first_ms, now_ms, hit)

    def _done(self, visit: Visit, first_ms: float, ended_ms: float, hit: int, *, late_ms: float = 0.0) -> None:
        """The whole answer is there; it took `late_ms` longer to reach whoever asked."""
        call, site = visit.call, self.sites[visit.site]
        room, now = self._room_of[visit.site], int(ended_ms * MS)
        last_ms = ended_ms + late_ms
        room.health.answered(now, ttft_ms=first_ms - visit.since_ms, duration_ms=last_ms - visit.since_ms, tokens_out=call.tokens_out)
        way = RTT_MS[call.geography][site.geography]
        ttft_ms = first_ms - call.at_ms + way
        tpot_ms = (last_ms - first_ms) / (call.tokens_out - 1) if call.tokens_out > 1 else 0.0
        fresh, cached, out = self._costs[visit.site]
        cost = (call.tokens_in - hit) * fresh + hit * cached + call.tokens_out * out
        self._count(visit, ttft_ms, tpot_ms, hit, cost, ended_ms)
        self.checker.answered(visit.number, first_ms, last_ms, hit, call.tokens_out, cost)
        if self._shares.caps:
            self._shares.add(site.pool.vendor, call.tokens_in + call.tokens_out, now)
        if visit.number == self._watched:
            told = f"is done at {site.pool.name}: TTFT {ttft_ms:,.1f} ms, TPOT {tpot_ms:,.2f} ms, {call.tokens_out:,} tokens out"
            self._tell(visit, last_ms, told)
        self._follow(call, last_ms, answered=True)
        if called := room.free(now):
            self._call_in(called, room, ended_ms)

    def _count(self, visit: Visit, ttft_ms: float, tpot_ms: float, hit: int, cost: int, ended_ms: float) -> None:
        call = visit.call
        terms = CLASSES[call.traffic_class]
        of_class, of_pool = self.classes[call.traffic_class], self.pools[visit.site]
        tokens_in, tokens_out = call.tokens_in, call.tokens_out
        of_class.served += 1
        of_class.within += ttft_ms <= terms.ttft_ms and tpot_ms <= terms.tpot_ms
        of_class.spilled += visit.first_choice != self.sites[visit.site].pool.name
        of_class.ttft_ms.append(ttft_ms)
        of_class.wait_ms.append(visit.waited_ms)
        if tokens_out > 1:
            of_class.tpot_ms.append(tpot_ms)
            of_pool.tpot_ms.append(tpot_ms)
        of_pool.ttft_ms.append(ttft_ms)
        of_pool.served += 1
        of_pool.cost_pico += cost
        of_class.tokens_in += tokens_in
        of_class.tokens_cached += hit
        of_class.tokens_out += tokens_out
        of_pool.tokens_in += tokens_in
        of_pool.tokens_cached += hit
        of_pool.tokens_out += tokens_out
        slice_, ttfts, _ = self.over_time.at(ended_ms)
        slice_.served += 1
        slice_.tokens += tokens_in + tokens_out
        ttfts.append(ttft_ms)

    def _refuse(self, visit: Visit, at_ms: float, why: Why) -> None:
        of_class = self.classes[visit.call.traffic_class]
        of_class.refused += 1
        of_class.refusals[why] = of_class.refusals.get(why, 0) + 1
        self.over_time.at(at_ms)[0].refused += 1
        self.checker.ended(visit.number, heard=False)
        self._tell(visit, at_ms, f"is refused: {why}")
        self._follow(visit.call, at_ms, answered=False)

    def _cut_off(self, visit: Visit, at_ms: float) -> None:
        self.classes[visit.call.traffic_class].cut += 1
        self.checker.ended(visit.number, heard=True)
        self._follow(visit.call, at_ms, answered=False)

    def _follow(self, call: Call, ended_ms: float, *, answered: bool) -> None:
        """What the session asks next comes by the same door."""
        following = self.workload.after(call, ended_ms, answered=answered)
        if following is not None and following.at_ms < self._end_ms:
            self._at(following.at_ms, lambda _: self._arrive(following))

    # What is known, and what goes wrong.

    def _tick(self, now_ms: float) -> None:
        """As the gateway's, several times a second; and how full the pools are is looked at."""
        now = int(now_ms * MS)
        over = self._shares.over(now) if self._shares.caps else frozenset()
        slice_, _, used = self.over_time.at(now_ms)
        slice_.samples += 1
        for at, room in enumerate(self._room_of):
            if self._shares.caps and room.load.over_share != (room.pool.vendor in over):
                room.load.over_share = not room.load.over_share
            if called := room.tick(now):
                self._call_in(called, room, now_ms)
            share = room.inflight / room.pool.concurrency_max
            of_pool = self.pools[at]
            of_pool.used += share
            of_pool.samples += 1
            of_pool.peak = max(of_pool.peak, share)
            used[at] += share
        if now_ms - self._compared_ms >= 1_000:
            self._compared_ms = now_ms
            for pools in self._board.snapshot.pools_of.values():
                for slow in outliers([self.rooms[pool.name].health for pool in pools], self._health):
                    slow.eject(now, "far slower than its peers")
        if now_ms + self.settings.tick_ms <= self._end_ms or self._on_their_way():
            self._at(now_ms + self.settings.tick_ms, self._tick)

    def _settle(self, now_ms: float) -> None:
        """From now on it counts for the report."""
        self._before = self.classes, self.pools
        self.classes = {name: OfClass() for name in CLASSES}
        self.pools = [OfPool(site) for site in self.sites]
        self.over_time = OverTime(self.settings.slice_s, len(self.sites), now_ms / 1_000)
        self.over_time.at(now_ms)

    def _plan(self, fault: Fault) -> None:
        """Put its beginning and end where they happen. Demand is the workload's own."""
        match fault:
            case Outage():
                touched: list[int] = []
                self._at(fault.from_s * 1_000, lambda now_ms: self._stop(fault, touched, now_ms))
                self._at(fault.to_s * 1_000, lambda _: self._restart(fault, touched))
            case Slow():
                self._at(fault.from_s * 1_000, lambda now_ms: self._pace(fault, fault.factor, now_ms))
                self._at(fault.to_s * 1_000, lambda now_ms: self._pace(fault, 1.0, now_ms))
            case PriceChange():
                self._at(fault.from_s * 1_000, lambda _: self._reprice(fault))
            case NewRule():
                self._at(fault.from_s * 1_000, lambda _: self._add_rule(fault))
            case Demand():
                pass

    def _replicas(self, scope: Scope, share: float) -> Iterator[tuple[int, int]]:
        """The covered sites' replicas, `share` of each, with their site."""
        for at, site in enumerate(self.sites):
            if site.block is not None and scope.covers(site.pool):
                first = self.fleet.first_of(self._block_of[at])
                for replica in range(first, first + round(share * site.block.replicas)):
                    yield at, replica

    def _stop(self, fault: Outage, touched: list[int], now_ms: float) -> None:
        lost: list[tuple[Visit, bool]] = []
        for at, replica in self._replicas(fault, fault.share):
            touched.append(replica)
            self._down_since_fails_ms[at] = fault.fails_after_s * 1_000
            lost += [(self._by_slot.pop(slot), heard) for slot, heard in self.fleet.stop(replica)]
        for at, site in enumerate(self.sites):
            if site.vendor is not None and fault.covers(site.pool):
                self._down[at] = self._down.get(at, 0) + 1
                self._down_since_fails_ms[at] = fault.fails_after_s * 1_000
                gone = [visit for visit in self._at_vendor.values() if visit.site == at]
                lost += [(self._at_vendor.pop(visit.number), now_ms >= visit.first_ms) for visit in gone]
        for visit, heard in lost:
            self._failed(visit, now_ms, heard=heard)

    def _restart(self, fault: Outage, touched: Sequence[int]) -> None:
        for replica in touched:
            if replica not in self._gang_replicas:
                self.fleet.start(replica)
        for at, site in enumerate(self.sites):
            if site.vendor is not None and fault.covers(site.pool):
                self._down[at] -= 1

    def _pace(self, fault: Slow, factor: float, now_ms: float) -> None:
        for _, replica in self._replicas(fault, fault.share):
            self.fleet.pace(now_ms, replica, factor)

    def _reprice(self, fault: PriceChange) -> None:
        for at, site in enumerate(self.sites):
            if fault.covers(site.pool):
                costs = {
                    model: TokenCost(cost.input_pico * fault.factor, cost.cached_input_pico * fault.factor, cost.output_pico * fault.factor)
                    for model, cost in site.pool.costs.items()
                }
                pool = msgspec.structs.replace(site.pool, costs=costs)
                changed = msgspec.structs.replace(site, pool=pool, hour_pico=site.hour_pico)
                self.sites = (*self.sites[:at], changed, *self.sites[at + 1 :])
                self._costs[at] = self._cost(changed)
        self._board = self._new_board()

    def _add_rule(self, fault: NewRule) -> None:
        self._rules.append((fault, Rules(names=("added",), jurisdictions=frozenset(fault.jurisdictions))))

    # Training.

    def _look_at_jobs(self, now_ms: float) -> None:
        """Gangs that are called back serve again; pools that idle are given to gangs."""
        now_s = now_ms / 1_000
        busy = {at: self._share_in_use(at) for at in range(len(self.sites))}
        for gang in self._jobs.due(now_s, busy):
            for replica in gang.replicas:
                self._gang_replicas.discard(replica)
                self.fleet.start(replica)
            self._resize(gang, now_s, +1)
        for gang in self._jobs.start(now_s, [one for at in range(len(self.sites)) if (one := self._idle(at)) is not None]):
            for replica in gang.replicas:
                self._gang_replicas.add(replica)
                self.fleet.stop(replica)
            self._resize(gang, now_s, -1)
        if now_ms + JOBS_EVERY_MS <= self._end_ms:
            self._at(now_ms + JOBS_EVERY_MS, self._look_at_jobs)

    def _idle(self, at: int) -> Idle | None:
        block = self.sites[at].block
        if block is None:
            return None
        first = self.fleet.first_of(self._block_of[at])
        free = tuple(
            replica
            for replica in range(first, first + block.replicas)
            if replica not in self._gang_replicas and not self.fleet.held(replica)[0]
        )
        return Idle(at, self.sites[at].pool.silicon, free, block.service.accelerators, self._share_in_use(at))

    def _share_in_use(self, at: int) -> float:
        load = self._room_of[at].load
        return load.inflight / load.limit

    def _resize(self, gang: Gang, now_s: float, sign: int) -> None:
        """The pool's room grows and shrinks with its replicas, as an operator's autoscaler would say it."""
        site, room = self.sites[gang.site], self._room_of[gang.site]
        assert site.block is not None
        each = site.pool.concurrency_max / site.block.replicas
        taken = sum(len(one.replicas) for one in self._jobs.gangs if one.site == gang.site)
        room.health.change(max(1, round(each * (site.block.replicas - taken))), self._health)
        if sign > 0:
            self.pools[gang.site].training_hours += (now_s - gang.since_s) / 3_600 * gang.accelerators

    # Small things.

    def _on_their_way(self) -> bool:
        return bool(self._by_slot or self._at_vendor or self._waiting or self._hanging)

    def _at(self, at_ms: float, happen: Callable[[float], None]) -> None:
        self._event_count += 1
        heappush(self._events, (at_ms, self._event_count, happen))

    def _ask(self, number: int, call: Call) -> Ask:
        principal = self._principals.get((call.tenant, call.traffic_class))
        if principal is None:
            name = f"tenant-{call.tenant}"
            principal = Principal(organization=name, project="p", key=name, traffic_class=call.traffic_class)
            self._principals[call.tenant, call.traffic_class] = principal
        return Ask(
            request=f"call-{number}",
            operation="chat",
            principal=principal,
            model=call.model,
            stream=True,
            include_usage=True,
            tokens_in_max=call.tokens_in * BYTES_A_TOKEN,
            tokens_out_max=None,
            body=b"",
            traffic_class=call.traffic_class,
            rules=self._rules_for(call) if self._rules else NO_RULES,
            affinity=call.affinity,
        )

    def _rules_for(self, call: Call) -> Rules:
        for fault, rules in self._rules:
            if GEOGRAPHIES[call.geography] == fault.geography and (call.tenant * 0x9E3779B1 & 0xFFFF) < fault.share * 0x10000:
                return rules
        return NO_RULES

    def _within_limits(self, call: Call, now: Instant) -> bool:
        requests, tokens = self.settings.tenant_requests_per_minute, self.settings.tenant_tokens_per_minute
        limiter = self._limiters.get(call.tenant)
        if limiter is None:
            limiter = Limiter(requests_per_minute=requests or None, tokens_per_minute=tokens or None, now=now)
            self._limiters[call.tenant] = limiter
        return not isinstance(limiter.take(now, call.tokens_in + call.tokens_out), Refused)

    def _new_board(self) -> Board:
        self._version += 1
        pools = [site.pool for site in self.sites]
        names = dict.fromkeys(model for pool in pools for model in pool.models)
        models = [ModelProfile(name=name, created=0, owned_by="", operations=frozenset({"chat"})) for name in names]
        return Board(snapshot(self._version, pools, models), {name: room.load for name, room in self.rooms.items()}, CLASSES)

    @staticmethod
    def _cost(site: Site) -> tuple[int, int, int]:
        """What a token costs where tokens are bought; hours are paid by the hour."""
        if site.vendor is None:
            return 0, 0, 0
        cost = next(iter(site.pool.costs.values()))
        return round(cost.input_pico), round(cost.cached_input_pico), round(cost.output_pico)

    def _tell(self, visit: Visit, at_ms: float, what: str) -> None:
        if visit.number == self._watched:
            self.story.append(f"{at_ms / 1_000:14.6f} s  {what}")

    def _tell_decision(self, visit: Visit, at_ms: float, decided: Send | Wait | Refuse) -> None:
        if decided.shortlist is not None:
            for name, rule in decided.shortlist.excluded:
                self._tell(visit, at_ms, f"    {name}: left out by {rule}")
            for spot, verdict, score in decided.placed:
                pool = decided.shortlist.choices[spot].pool.name
                self._tell(visit, at_ms, f"    {pool}: {VERDICTS[verdict]}, score {score:,.0f}")
        self._tell(visit, at_ms, f"is decided: {type(decided).__name__.lower()}")

    def _close(self) -> Report:
        """The books: what the report says is what the checker counted."""
        inflight = len(self._by_slot) + len(self._at_vendor) + len(self._hanging)
        self.checker.close(inflight=inflight, waiting=len(self._waiting))
        settings, duration_s = self.settings, self.settings.duration_s - self.settings.settle_s
        for gang in self._jobs.gangs:
            self.pools[gang.site].training_hours += (settings.duration_s - gang.since_s) / 3_600 * gang.accelerators
        self._compare()
        classes = tuple(one.report(name, CLASSES[name]) for name, one in self.classes.items() if one.arrived or one.served)
        pools = tuple(one.report(duration_s, self._preemptions(at)) for at, one in enumerate(self.pools))
        served, refused, cut = (sum(getattr(one, what) for one in classes) for what in ("served", "refused", "cut"))
        tokens_in, tokens_cached = sum(one.tokens_in for one in classes), sum(one.tokens_cached for one in classes)
        tokens_out = sum(one.tokens_out for one in classes)
        cost = sum(one.cost_pico for one in pools)
        carbons = [one.carbon_kg for one in pools if one.carbon_kg is not None]
        tokens = tokens_in + tokens_out
        in_flight = inflight + len(self._waiting)
        return Report(
            name=settings.name,
            seed=settings.seed,
            policy=settings.policy,
            scale=settings.scale,
            duration_s=duration_s,
            arrived=served + refused + cut + in_flight,
            served=served,
            refused=refused,
            cut=cut,
            in_flight=in_flight,
            tokens_in=tokens_in,
            tokens_cached=tokens_cached,
            tokens_out=tokens_out,
            cost_pico=cost,
            usd_per_mtok=round(cost / tokens / 1e6, 6) if tokens else None,
            carbon_kg=round(sum(carbons), 3) if carbons else None,
            classes=classes,
            pools=pools,
            moments=self.over_time.report(),
            jobs=self._jobs.reports(settings.duration_s),
            story=tuple(self.story),
        )

    def _compare(self) -> None:
        """What classes and pools add up to is what the checker counted, call by call."""
        classes = [*self._before[0].values(), *self.classes.values()]
        pools = [*self._before[1], *self.pools]
        for what in ("arrived", "served", "refused", "cut", "tokens_in", "tokens_cached", "tokens_out"):
            self.checker.compare(f"{what}, by class", sum(getattr(one, what) for one in classes), getattr(self.checker, what))
        for what in ("served", "tokens_in", "tokens_cached", "tokens_out", "cost_pico"):
            self.checker.compare(f"{what}, by pool", sum(getattr(one, what) for one in pools), getattr(self.checker, what))

    def _preemptions(self, at: int) -> int:
        block = self.sites[at].block
        if block is None:
            return 0
        first = self.fleet.first_of(self._block_of[at])
        return sum(self.fleet.held(replica)[3] for replica in range(first, first + block.replicas))
