"""The fleet in plain Python: every step on its own, as one would write it down. Slow, obvious, and what the compiled one is held to."""

import heapq
from collections import deque
from collections.abc import Sequence
from math import inf

from headrace.simulator.fleet import CROWDED, ROOMY, Block, Done, rank
from headrace.simulator.prefix import PrefixCache, Segments


class Request:
    """One request on a replica."""

    __slots__ = (
        "first_ms",
        "generated",
        "grows",
        "hit",
        "out",
        "preempted",
        "prompt",
        "segments",
        "slot",
        "started_ms",
        "take",
        "todo",
    )

    def __init__(self, slot: int, prompt: int, out: int, segments: Segments, grows: bool) -> None:
        self.slot, self.prompt, self.out, self.segments, self.grows = slot, prompt, out, segments, grows
        self.generated = self.todo = self.take = self.hit = self.preempted = 0
        self.started_ms = self.first_ms = -1.0

    @property
    def context(self) -> int:
        return self.prompt + self.generated

    def chain(self) -> Segments:
        """Its segments, with what it has said so far where that will be part of the next prompt."""
        if not self.grows or not self.segments:
            return self.segments
        key, tokens = self.segments[-1]
        return (*self.segments[:-1], (key, tokens + self.generated))


class Replica:
    """One replica, mid-step or idle."""

    def __init__(self, block: Block, index: int) -> None:
        self.block, self.service, self.index = block, block.service, index
        self.cache = PrefixCache()
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []  # in the order of admission
        self.step_ends: float | None = None
        self.factor = 1.0
        self.alive = True
        self.preemptions = 0

    @property
    def load(self) -> int:
        return len(self.waiting) + len(self.running)

    @property
    def used(self) -> int:
        return sum(one.context for one in self.running)

    @property
    def cache_room(self) -> int:
        return self.service.kv_tokens + self.block.offload_tokens - sum(one.generated for one in self.running)

    def begin(self, now_ms: float) -> None:
        """Plan the step that starts now; idle when there is nothing to do."""
        preempted = self._make_room()
        decoding = [one for one in self.running if not one.todo]
        budget = self.service.chunk_tokens - len(decoding)
        for one in self.running:
            if one.todo:
                one.take = max(0, min(one.todo, budget))
                budget -= one.take
        while self.waiting and budget > 0 and not preempted and len(self.running) < self.service.batch_max and self._fits(self.waiting[0]):
            one = self.waiting.popleft()
            self._admit(one, now_ms)
            one.take = min(one.todo, budget)
            budget -= one.take
        if not self.running:
            self.step_ends = None
            return
        read = sum(one.take for one in self.running if one.todo)
        held = sum(one.context for one in decoding)
        at_work = len(decoding) + sum(1 for one in self.running if one.todo and one.take)
        self.step_ends = now_ms + self.factor * self.service.step(at_work, held, read)

    def end(self) -> list[Request]:
        """The step is over: tokens are out. Returns who is done."""
        assert self.step_ends is not None
        done: list[Request] = []
        for one in self.running:
            if one.todo:
                one.todo -= one.take
                one.take = 0
                if one.todo:
                    continue
                if one.first_ms < 0:
                    one.first_ms = self.step_ends
            one.generated += 1
            if one.generated == one.out:
                done.append(one)
        done.sort(key=lambda one: one.slot)
        for one in done:
            self.running.remove(one)
        for one in done:
            self.cache.keep(one.chain(), self.cache_room)
        return done

    def _make_room(self) -> bool:
        """Whether somebody had to go so that all others can have one more token."""
        gone = False
        while self.running and self.used + len(self.running) > self.service.kv_tokens:
            one = self.running.pop()
            one.preempted += 1
            self.preemptions += 1
            self.cache.keep(one.chain(), self.cache_room)
            self.waiting.appendleft(one)
            gone = True
        return gone

    def _fits(self, one: Request) -> bool:
        return self.used + one.context + len(self.running) + 1 <= self.service.kv_tokens

    def _admit(self, one: Request, now_ms: float) -> None:
        chain = one.chain()
        found = min(self.cache.found(chain), one.context - 1)
        hit = found // self.block.cached_block * self.block.cached_block
        if one.started_ms < 0:
            one.started_ms, one.hit = now_ms, hit
        one.todo = one.context - hit
        self.running.append(one)
        self.cache.keep(chain, self.cache_room)


class ReferenceFleet:
    """See `Fleet`."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._firsts: list[int] = []
        self.replicas: list[Replica] = []
        for block in blocks:
            self._firsts.append(len(self.replicas))
            self.replicas += [Replica(block, len(self.replicas) + at) for at in range(block.replicas)]
        self._blocks = tuple(blocks)
        self._turns = [0] * len(blocks)
        self._ends: list[tuple[float, int]] = []
        self._where: dict[int, tuple[Replica, Request]] = {}
        self._slots = 0

    @property
    def next_ms(self) -> float:
        return self._ends[0][0] if self._ends else inf

    def submit(
        self, now_ms: float, block: int, tokens_in: int, tokens_out: int, segments: Segments, *, affinity: int = 0, grows: bool = True
    ) -> int:
        replica = self._pick(block, affinity)
        if replica is None or tokens_in + tokens_out + 1 > replica.service.kv_tokens:
            return -1
        slot, self._slots = self._slots, self._slots + 1
        one = Request(slot, tokens_in, max(1, tokens_out), segments, grows)
        self._where[slot] = replica, one
        replica.waiting.append(one)
        if replica.step_ends is None:
            self._begin(replica, now_ms)
        return slot

    def run(self, until_ms: float, most: int) -> Sequence[Done]:
        done: list[Done] = []
        while self._ends and self._ends[0][0] <= until_ms:
            ends, index = heapq.heappop(self._ends)
            replica = self.replicas[index]
            if replica.step_ends != ends:
                continue
            for one in replica.end():
                del self._where[one.slot]
                done.append(Done(one.slot, index, ends, one.first_ms, one.started_ms, one.hit, one.preempted))
            self._begin(replica, ends)
            if len(done) >= most:
                break
        return done

    def stop(self, replica: int) -> Sequence[tuple[int, bool]]:
        dead = self.replicas[replica]
        lost = [(one.slot, one.generated > 0) for one in (*dead.running, *dead.waiting)]
        for slot, _ in lost:
            del self._where[slot]
        fresh = Replica(dead.block, replica)
        fresh.alive, fresh.preemptions = False, dead.preemptions
        self.replicas[replica] = fresh
        return lost

    def start(self, replica: int) -> None:
        self.replicas[replica].alive = True

    def pace(self, now_ms: float, replica: int, factor: float) -> None:
        self.replicas[replica].factor = factor

    def first_of(self, block: int) -> int:
        return self._firsts[block]

    def held(self, replica: int) -> tuple[int, int, int, int]:
        one = self.replicas[replica]
        return one.load, one.used, one.cache.total, one.preemptions

    def _begin(self, replica: Replica, now_ms: float) -> None:
        replica.begin(now_ms)
        if replica.step_ends is not None:
            heapq.heappush(self._ends, (replica.step_ends, replica.index))

    def _pick(self, block: int, affinity: int) -> Replica | None:
        first, of = self._firsts[block], self._blocks[block]
        alive = [one for one in self.replicas[first : first + of.replicas] if one.alive]
        self._turns[block] += of.within == "turns"
        if not alive:
            return None
        if of.within == "turns":
            return alive[self._turns[block] % len(alive)]
        if of.within == "prefix" and affinity:
            room = CROWDED * (1 + sum(one.load for one in alive)) / len(alive)
            roomy = [one for one in alive if one.load < ROOMY or one.load < room]
            if roomy:
                return max(roomy, key=lambda one: (rank(affinity, one.index), -one.index))
        return min(alive, key=lambda one: (one.load, one.index))
