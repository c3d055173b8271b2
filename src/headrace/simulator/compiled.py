"""The fleet over compiled steps. Needs numba (`pip install 'headrace[simulate]'`); `fleet_of` takes the plain one where it is missing."""

from collections.abc import Sequence
from math import inf

import numpy as np

from headrace.simulator import kernels
from headrace.simulator.fleet import WITHIN, Block, Done
from headrace.simulator.kernels import COUNTS, FACTS, FLOATS, META, NOBODY
from headrace.simulator.prefix import Segments

SEGMENT_TOKENS_LIKELY = 256
"""A replica has a node of its cache for each segment; so many tokens a segment are expected, and with fewer the oldest goes sooner."""
NODES_MAX = 1 << 15


class CompiledFleet:
    """See `Fleet`. `segments_max` is how long a prompt's chain may be; room for requests grows as it is needed."""

    def __init__(self, blocks: Sequence[Block], *, segments_max: int = 2, slots: int = 4_096) -> None:
        self._blocks, self._firsts = tuple(blocks), [sum(block.replicas for block in blocks[:at]) for at in range(len(blocks))]
        count = sum(block.replicas for block in blocks)
        room = max(block.service.kv_tokens + block.offload_tokens for block in blocks)
        node_count = min(NODES_MAX, max(256, room // SEGMENT_TOKENS_LIKELY))
        self._width = 2 * max(2, segments_max)
        self._floats = np.zeros((count, FLOATS))
        self._counts = np.zeros((count, COUNTS), np.int64)
        self._heaps = np.zeros((count, max(block.service.batch_max for block in blocks)), np.int64)
        self._tables = np.full((count, 1 << (2 * node_count - 1).bit_length()), NOBODY, np.int32)
        self._nodes = np.zeros((count, node_count, 4), np.int64)
        self._ends = np.zeros(count, np.int64)
        self._meta = np.zeros(META, np.int64)
        self._times = np.zeros((slots, 2))
        self._facts = np.zeros((slots, FACTS), np.int64)
        self._segments = np.zeros((slots, self._width), np.int64)
        self._free = np.arange(slots)[::-1].copy()
        self._meta[kernels.SLOTS_FREE] = slots
        self._done = np.zeros(self._heaps.shape[1] + 1, np.int64)
        self._out_times, self._out_facts = np.zeros((OUT, 3)), np.zeros((OUT, 4), np.int64)
        self._turns, self._withins = [0] * len(blocks), [WITHIN.index(block.within) for block in blocks]
        for block, first in zip(blocks, self._firsts, strict=True):
            for replica in range(first, first + block.replicas):
                self._set_up(replica, block)
        self._pack()
        # What is looked at often, one number at a time, which is cheaper so than in the arrays.
        self._run_ends, self._soonest, self._counted = self._floats.data, self._ends.data, self._meta.data
        self._one_times, self._one_facts = self._out_times[0], self._out_facts[0]
        self.next_ms = inf

    def submit(
        self, now_ms: float, block: int, tokens_in: int, tokens_out: int, segments: Segments, *, affinity: int = 0, grows: bool = True
    ) -> int:
        of, count = self._blocks[block], len(segments)
        one = segments[0] if count else (0, 0)
        two = segments[1] if count > 1 else (0, 0)
        if not self._counted[kernels.SLOTS_FREE]:
            self._grow()
        if count > 2:
            row = self._free[self._meta[kernels.SLOTS_FREE] - 1]
            self._segments[row, : 2 * count] = np.asarray(segments, np.int64).reshape(-1)
        if of.within == "turns":
            self._turns[block] += 1
        slot: int = kernels.submit_two(
            *self._state,
            self._firsts[block],
            of.replicas,
            self._withins[block],
            self._turns[block],
            affinity,
            now_ms,
            tokens_in,
            tokens_out if tokens_out > 1 else 1,
            count,
            one[0],
            one[1],
            two[0],
            two[1],
            1 if grows else 0,
        )
        self._look()
        return slot

    def run(self, until_ms: float, most: int) -> Sequence[Done]:
        if self.next_ms > until_ms:
            return ()
        wanted = min(most, OUT - self._done.shape[0])
        found = kernels.run(*self._outgoing, until_ms, wanted)
        self._look()
        if not found:
            return ()
        if found == 1:  # as nearly always while somebody asks again when answered
            finished, first, started = self._one_times.tolist()
            slot, replica, hit, preempted = self._one_facts.tolist()
            return (Done(slot, replica, finished, first, started, hit, preempted),)
        times, facts = self._out_times[:found].tolist(), self._out_facts[:found].tolist()
        return [
            Done(slot, replica, finished, first, started, hit, preempted)
            for (finished, first, started), (slot, replica, hit, preempted) in zip(times, facts, strict=True)
        ]

    def stop(self, replica: int) -> Sequence[tuple[int, bool]]:
        facts, counts = self._facts, self._counts[replica]
        lost: list[tuple[int, bool]] = []
        slot = int(counts[kernels.LAST_ADMITTED])
        while slot != NOBODY:
            lost.append((slot, bool(self._times[slot, kernels.FIRST] >= 0)))
            slot = int(facts[slot, kernels.BEFORE])
        lost.reverse()
        slot = int(counts[kernels.WAIT_HEAD])
        while slot != NOBODY:
            lost.append((slot, bool(self._times[slot, kernels.FIRST] >= 0)))
            slot = int(facts[slot, kernels.NEXT])
        for slot, _ in lost:
            self._free[self._meta[kernels.SLOTS_FREE]] = slot
            self._meta[kernels.SLOTS_FREE] += 1
        kernels.halt(self._floats, self._counts, self._meta, self._ends, replica)
        self._look()
        preemptions = int(counts[kernels.PREEMPTIONS])
        self._set_up(replica, self._block_of(replica))
        counts[kernels.ALIVE], counts[kernels.PREEMPTIONS] = 0, preemptions
        return lost

    def start(self, replica: int) -> None:
        self._counts[replica, kernels.ALIVE] = 1

    def pace(self, now_ms: float, replica: int, factor: float) -> None:
        kernels.cut(self._floats, self._counts, self._meta, self._ends, replica, now_ms)
        self._floats[replica, kernels.FACTOR] = factor
        self._look()

    def first_of(self, block: int) -> int:
        return self._firsts[block]

    def held(self, replica: int) -> tuple[int, int, int, int]:
        counts = self._counts[replica]
        columns = (kernels.LOAD, kernels.USED, kernels.CACHED, kernels.PREEMPTIONS)
        load, used, cached, preemptions = (int(counts[column]) for column in columns)
        return load, used, cached, preemptions

    def _look(self) -> None:
        """When the next run ends: that of who is first in the heap; without any run, of whoever was."""
        self.next_ms = self._run_ends[self._soonest[0], kernels.RUN_END]

    def _block_of(self, replica: int) -> Block:
        return next(block for block, first in zip(self._blocks, self._firsts, strict=True) if first <= replica < first + block.replicas)

    def _set_up(self, replica: int, block: Block) -> None:
        """As new: empty, alive and at its usual pace."""
        service, counts = block.service, self._counts[replica]
        self._floats[replica] = 0.0
        self._floats[replica, :5] = service.step_ms, service.sequence_ms, service.held_ms, service.prompt_ms, 1.0
        self._floats[replica, kernels.RUN_END] = inf
        counts[:] = 0
        counts[:6] = service.batch_max, service.chunk_tokens, service.kv_tokens, block.cached_block, block.offload_tokens, 1
        counts[kernels.SPARE] = service.spare_tokens
        for column in ("READ_HEAD", "READ_TAIL", "WAIT_HEAD", "WAIT_TAIL", "LAST_ADMITTED", "OLDEST", "NEWEST", "PLACE"):
            counts[getattr(kernels, column)] = NOBODY
        self._tables[replica] = NOBODY
        nodes = self._nodes[replica]
        nodes[:, kernels.NEWER] = np.arange(1, len(nodes) + 1)
        nodes[-1, kernels.NEWER] = NOBODY

    def _grow(self) -> None:
        """Room for twice as many requests."""
        had = len(self._times)
        self._times = np.concatenate([self._times, np.zeros_like(self._times)])
        self._facts = np.concatenate([self._facts, np.zeros_like(self._facts)])
        self._segments = np.concatenate([self._segments, np.zeros_like(self._segments)])
        free = np.zeros(2 * had, np.int64)
        left = int(self._meta[kernels.SLOTS_FREE])
        free[:had] = np.arange(2 * had - 1, had - 1, -1)
        free[had : had + left] = self._free[:left]
        self._free = free
        self._meta[kernels.SLOTS_FREE] = had + left
        self._pack()

    def _pack(self) -> None:
        self._state = (
            self._floats,
            self._counts,
            self._times,
            self._facts,
            self._segments,
            self._heaps,
            self._tables,
            self._nodes,
            self._ends,
            self._meta,
            self._free,
        )
        self._outgoing = (*self._state, self._done, self._out_times, self._out_facts)


OUT = 8_192
