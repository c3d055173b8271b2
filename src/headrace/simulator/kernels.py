"""The compiled steps: what `reference.py` does one step at a time, over arrays, with runs of nothing but decoding taken at once.

A run of `k` steps with `B` decoding sequences that hold `H` tokens takes

    T(k) = k · (a + b·B + c·H) + c · B · k · (k - 1) / 2

so that a request costs the same whatever the length of its answer: who decodes stands in a heap by the number of the step in which it is
done. A run ends when somebody is done, when there is no room for more tokens, or when a request comes: then it is cut at the end of the
step that is on, and the newcomer is looked at. Each replica with a run stands in a heap by its end, and only those are ever touched.

Rows of `floats` and `counts` are replicas, of `times` and `facts` requests; the names below are their columns.
"""

from collections.abc import Callable
from math import inf, sqrt
from typing import Any, TypeVar, cast

import numba
import numpy as np

from headrace.simulator.fleet import CROWDED, ROOMY

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """`kernel` as machine code, kept on disk for the next start."""
    return cast(Kernel, numba.njit(kernel, cache=True, nogil=True, error_model="numpy"))


STEP, SEQUENCE, HELD_MS, PROMPT, FACTOR, RUN_START, RUN_END, RUN_FIRST, RUN_MORE = range(9)
FLOATS = 9
(
    BATCH_MAX,
    CHUNK,
    KV,
    CACHED_BLOCK,
    OFFLOAD,
    ALIVE,
    DECODING,
    HELD,
    USED,
    STEPS,
    RUN_STEPS,
    READ_HEAD,
    READ_TAIL,
    WAIT_HEAD,
    WAIT_TAIL,
    LAST_ADMITTED,
    RUNNING,
    LOAD,
    CACHED,
    OLDEST,
    NEWEST,
    PREEMPTIONS,
    ANSWERS,
    NODES,
    NODE_FREE,
    PLACE,
    SPARE,
) = range(27)
COUNTS = 27
STARTED, FIRST = range(2)
(TOKENS_IN, TOKENS_OUT, UNREAD, TAKE, HIT, DONE_STEP, REPLICA, NEXT, BEFORE, AFTER, PREEMPTED, GROWS, SEGMENTS, SAID, STATE, SERIAL) = (
    range(16)
)
FACTS = 16
WAITING, READING, DECODES = range(3)
KEY, TOKENS, OLDER, NEWER = range(4)
ENDS, SLOTS_FREE, SERIALS = range(3)
META = 3
NOBODY = -1

# The heap of replicas by the end of their runs, each knowing its place in it.


@compiled
def _sooner(floats, one, other):
    return floats[one, RUN_END] < floats[other, RUN_END] or (floats[one, RUN_END] == floats[other, RUN_END] and one < other)


@compiled
def _rise(floats, counts, ends, at):
    replica = ends[at]
    while at > 0:
        above = (at - 1) >> 1
        if not _sooner(floats, replica, ends[above]):
            break
        ends[at] = ends[above]
        counts[ends[at], PLACE] = at
        at = above
    ends[at] = replica
    counts[replica, PLACE] = at


@compiled
def _sink(floats, counts, meta, ends, at):
    replica, size = ends[at], meta[ENDS]
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _sooner(floats, ends[below + 1], ends[below]):
            below += 1
        if not _sooner(floats, ends[below], replica):
            break
        ends[at] = ends[below]
        counts[ends[at], PLACE] = at
        at = below
    ends[at] = replica
    counts[replica, PLACE] = at


@compiled
def _enlist(floats, counts, meta, ends, replica):
    """Its run's end has changed, or it has none (any more)."""
    at = counts[replica, PLACE]
    if floats[replica, RUN_END] == inf:
        if at != NOBODY:
            meta[ENDS] -= 1
            last = ends[meta[ENDS]]
            counts[replica, PLACE] = NOBODY
            if last != replica:
                ends[at] = last
                counts[last, PLACE] = at
                _rise(floats, counts, ends, at)
                _sink(floats, counts, meta, ends, counts[last, PLACE])
        return
    if at == NOBODY:
        at = meta[ENDS]
        meta[ENDS] += 1
        ends[at] = replica
        counts[replica, PLACE] = at
    _rise(floats, counts, ends, at)
    _sink(floats, counts, meta, ends, counts[replica, PLACE])


# The heap of a replica's decoding requests by the step in which they are done.


@compiled
def _before(facts, one, other):
    return facts[one, DONE_STEP] < facts[other, DONE_STEP] or (
        facts[one, DONE_STEP] == facts[other, DONE_STEP] and facts[one, SERIAL] < facts[other, SERIAL]
    )


@compiled
def _up(facts, heap, at):
    slot = heap[at]
    while at > 0:
        above = (at - 1) >> 1
        if not _before(facts, slot, heap[above]):
            break
        heap[at] = heap[above]
        at = above
    heap[at] = slot
    return at


@compiled
def _down(facts, heap, size, at):
    slot = heap[at]
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _before(facts, heap[below + 1], heap[below]):
            below += 1
        if not _before(facts, heap[below], slot):
            break
        heap[at] = heap[below]
        at = below
    heap[at] = slot


# The prefix cache: a table of keys by open addressing, and its nodes in a list by age.


@compiled
def _spread(key, mask):
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed ^ (mixed >> np.uint64(29))) & np.uint64(mask))


@compiled
def _find(table, nodes, key):
    """The node of `key`, and its place in the table, or the free place where it would be."""
    mask = table.shape[0] - 1
    at = _spread(key, mask)
    while table[at] >= 0:
        if nodes[table[at], KEY] == key:
            return table[at], at
        at = (at + 1) & mask
    return np.int32(NOBODY), at


@compiled
def _unlink(counts, nodes, replica, node):
    older, newer = nodes[node, OLDER], nodes[node, NEWER]
    if older == NOBODY:
        counts[replica, OLDEST] = newer
    else:
        nodes[older, NEWER] = newer
    if newer == NOBODY:
        counts[replica, NEWEST] = older
    else:
        nodes[newer, OLDER] = older


@compiled
def _append(counts, nodes, replica, node):
    newest = counts[replica, NEWEST]
    nodes[node, OLDER], nodes[node, NEWER] = newest, NOBODY
    if newest == NOBODY:
        counts[replica, OLDEST] = node
    else:
        nodes[newest, NEWER] = node
    counts[replica, NEWEST] = node


@compiled
def _forget(counts, table, nodes, replica, node):
    """Take `node` out: of the list, and of the table, where later ones move up so that they are still found."""
    _unlink(counts, nodes, replica, node)
    mask = table.shape[0] - 1
    _, hole = _find(table, nodes, nodes[node, KEY])
    at = hole
    while True:
        at = (at + 1) & mask
        if table[at] < 0:
            break
        home = _spread(nodes[table[at], KEY], mask)
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            hole = at
    table[hole] = NOBODY
    counts[replica, CACHED] -= nodes[node, TOKENS]
    nodes[node, NEWER] = counts[replica, NODE_FREE]
    counts[replica, NODE_FREE] = node
    counts[replica, NODES] -= 1


@compiled
def _found(facts, segments, table, nodes, slot, said):
    """How many tokens of the request's prompt, from its start on, are cached."""
    tokens = 0
    count = facts[slot, SEGMENTS]
    for at in range(count):
        wanted = segments[slot, 2 * at + 1]
        if at == count - 1 and facts[slot, GROWS]:
            wanted += said
        node, _ = _find(table, nodes, segments[slot, 2 * at])
        held = nodes[node, TOKENS] if node >= 0 else 0
        if held < wanted:
            return tokens + held
        tokens += wanted
    return tokens


@compiled
def _keep(counts, facts, segments, table, nodes, replica, slot, said):
    count = facts[slot, SEGMENTS]
    for at in range(count - 1, -1, -1):
        key, wanted = segments[slot, 2 * at], segments[slot, 2 * at + 1]
        if at == count - 1 and facts[slot, GROWS]:
            wanted += said
        node, place = _find(table, nodes, key)
        if node >= 0:
            if nodes[node, TOKENS] < wanted:
                counts[replica, CACHED] += wanted - nodes[node, TOKENS]
                nodes[node, TOKENS] = wanted
            _unlink(counts, nodes, replica, node)
        else:
            if counts[replica, NODE_FREE] == NOBODY:
                _forget(counts, table, nodes, replica, counts[replica, OLDEST])
                node, place = _find(table, nodes, key)
            node = np.int32(counts[replica, NODE_FREE])
            counts[replica, NODE_FREE] = nodes[node, NEWER]
            nodes[node, KEY], nodes[node, TOKENS] = key, wanted
            table[place] = node
            counts[replica, CACHED] += wanted
            counts[replica, NODES] += 1
        _append(counts, nodes, replica, node)
    room = counts[replica, KV] + counts[replica, OFFLOAD] - counts[replica, ANSWERS]
    while counts[replica, CACHED] > room and counts[replica, OLDEST] != NOBODY:
        node = counts[replica, OLDEST]
        over = counts[replica, CACHED] - room
        if nodes[node, TOKENS] <= over:
            _forget(counts, table, nodes, replica, node)
        else:
            nodes[node, TOKENS] -= over
            counts[replica, CACHED] -= over


# One replica.


@compiled
def _said(counts, facts, replica, slot):
    """How many tokens of its answer a request has."""
    if facts[slot, STATE] == DECODES:
        return facts[slot, TOKENS_OUT] - (facts[slot, DONE_STEP] - counts[replica, STEPS])
    return facts[slot, SAID]


@compiled
def _leave(counts, facts, replica, slot):
    """Out of the list of those admitted."""
    before, after = facts[slot, BEFORE], facts[slot, AFTER]
    if before != NOBODY:
        facts[before, AFTER] = after
    if after != NOBODY:
        facts[after, BEFORE] = before
    else:
        counts[replica, LAST_ADMITTED] = before
    counts[replica, RUNNING] -= 1


@compiled
def _send_back(counts, facts, segments, heaps, tables, nodes, replica):
    """The last admitted goes to the head of those who wait."""
    slot = counts[replica, LAST_ADMITTED]
    said = _said(counts, facts, replica, slot)
    context = facts[slot, TOKENS_IN] + said
    if facts[slot, STATE] == DECODES:
        heap, size = heaps[replica], counts[replica, DECODING]
        at = 0
        while heap[at] != slot:
            at += 1
        size -= 1
        if at < size:
            heap[at] = heap[size]
            at = _up(facts, heap, at)
            _down(facts, heap, size, at)
        counts[replica, DECODING] = size
        counts[replica, HELD] -= context
    else:  # it is the last of those that read, too
        one, before = counts[replica, READ_HEAD], NOBODY
        while one != slot:
            before, one = one, facts[one, NEXT]
        if before == NOBODY:
            counts[replica, READ_HEAD] = NOBODY
        else:
            facts[before, NEXT] = NOBODY
        counts[replica, READ_TAIL] = before
    _leave(counts, facts, replica, slot)
    counts[replica, USED] -= context
    counts[replica, ANSWERS] -= said
    counts[replica, PREEMPTIONS] += 1
    facts[slot, SAID], facts[slot, STATE] = said, WAITING
    facts[slot, PREEMPTED] += 1
    _keep(counts, facts, segments, tables[replica], nodes[replica], replica, slot, said)
    facts[slot, NEXT] = counts[replica, WAIT_HEAD]
    counts[replica, WAIT_HEAD] = slot
    if counts[replica, WAIT_TAIL] == NOBODY:
        counts[replica, WAIT_TAIL] = slot


@compiled
def _admit(counts, times, facts, segments, table, nodes, replica, now):
    """The first of those who wait begins to have its prompt read."""
    slot = counts[replica, WAIT_HEAD]
    counts[replica, WAIT_HEAD] = facts[slot, NEXT]
    if counts[replica, WAIT_HEAD] == NOBODY:
        counts[replica, WAIT_TAIL] = NOBODY
    said = facts[slot, SAID]
    context = facts[slot, TOKENS_IN] + said
    hit = min(_found(facts, segments, table, nodes, slot, said), context - 1)
    hit -= hit % counts[replica, CACHED_BLOCK]
    if times[slot, STARTED] < 0:
        times[slot, STARTED] = now
        facts[slot, HIT] = hit
    facts[slot, UNREAD], facts[slot, STATE], facts[slot, NEXT] = context - hit, READING, NOBODY
    if counts[replica, READ_TAIL] == NOBODY:
        counts[replica, READ_HEAD] = slot
    else:
        facts[counts[replica, READ_TAIL], NEXT] = slot
    counts[replica, READ_TAIL] = slot
    last = counts[replica, LAST_ADMITTED]
    facts[slot, BEFORE], facts[slot, AFTER] = last, NOBODY
    if last != NOBODY:
        facts[last, AFTER] = slot
    counts[replica, LAST_ADMITTED] = slot
    counts[replica, RUNNING] += 1
    counts[replica, USED] += context
    counts[replica, ANSWERS] += said
    _keep(counts, facts, segments, table, nodes, replica, slot, said)
    return slot


@compiled
def _run_time(floats, replica, steps):
    return steps * floats[replica, RUN_FIRST] + floats[replica, RUN_MORE] * (steps * (steps - 1) / 2)


@compiled
def _begin(floats, counts, times, facts, segments, heaps, tables, nodes, replica, now):
    """Plan the run that starts now."""
    preempted = False
    while counts[replica, RUNNING] and counts[replica, USED] + counts[replica, RUNNING] > counts[replica, KV]:
        _send_back(counts, facts, segments, heaps, tables, nodes, replica)
        preempted = True
    decoding = counts[replica, DECODING]
    budget = counts[replica, CHUNK] - decoding
    read = at_work = 0
    one = counts[replica, READ_HEAD]
    while one != NOBODY:
        take = max(0, min(facts[one, UNREAD], budget))
        facts[one, TAKE] = take
        budget -= take
        read += take
        at_work += 1 if take else 0
        one = facts[one, NEXT]
    while counts[replica, WAIT_HEAD] != NOBODY and budget > 0 and not preempted and counts[replica, RUNNING] < counts[replica, BATCH_MAX]:
        first = counts[replica, WAIT_HEAD]
        context = facts[first, TOKENS_IN] + facts[first, SAID]
        if counts[replica, USED] + context + counts[replica, RUNNING] + 1 > counts[replica, KV]:
            break
        slot = _admit(counts, times, facts, segments, tables[replica], nodes[replica], replica, now)
        take = min(facts[slot, UNREAD], budget)
        facts[slot, TAKE] = take
        budget -= take
        read += take
        at_work += 1
    floats[replica, RUN_START] = now
    if not counts[replica, RUNNING]:
        floats[replica, RUN_END] = inf
        return
    factor = floats[replica, FACTOR]
    step = floats[replica, STEP] + floats[replica, SEQUENCE] * (decoding + at_work) + floats[replica, HELD_MS] * counts[replica, HELD]
    floats[replica, RUN_FIRST] = factor * (step + floats[replica, PROMPT] * max(0, read - counts[replica, SPARE]))
    floats[replica, RUN_MORE] = factor * floats[replica, HELD_MS] * decoding
    steps = 1
    if counts[replica, READ_HEAD] == NOBODY:
        steps = facts[heaps[replica, 0], DONE_STEP] - counts[replica, STEPS]
        steps = max(1, min(steps, (counts[replica, KV] - counts[replica, USED]) // decoding))
        if preempted:
            steps = 1  # then those who wait are looked at again
    counts[replica, RUN_STEPS] = steps
    floats[replica, RUN_END] = now + _run_time(floats, replica, steps)


@compiled
def _cut(floats, counts, replica, now):
    """Let the run end with the step that is on."""
    steps = counts[replica, RUN_STEPS]
    if steps == 1:
        return
    gone = now - floats[replica, RUN_START]
    first, more = floats[replica, RUN_FIRST], floats[replica, RUN_MORE]
    if more > 0:
        half = first - more / 2
        least = int((sqrt(half * half + 2 * more * gone) - half) / more)
    else:
        least = int(gone / first)
    least = max(1, min(least, steps))
    while least > 1 and floats[replica, RUN_START] + _run_time(floats, replica, least - 1) > now:
        least -= 1
    while least < steps and floats[replica, RUN_START] + _run_time(floats, replica, least) <= now:
        least += 1
    counts[replica, RUN_STEPS] = least
    floats[replica, RUN_END] = floats[replica, RUN_START] + _run_time(floats, replica, least)


@compiled
def _end(floats, counts, times, facts, segments, heaps, tables, nodes, replica, done):
    """The run is over: returns how many are done, their slots in `done`, the earliest asked first."""
    steps, decoding, now = counts[replica, RUN_STEPS], counts[replica, DECODING], floats[replica, RUN_END]
    counts[replica, STEPS] += steps
    for column in (HELD, USED, ANSWERS):
        counts[replica, column] += steps * decoding
    heap = heaps[replica]
    found = 0
    while decoding and facts[heap[0], DONE_STEP] <= counts[replica, STEPS]:
        slot = heap[0]
        decoding -= 1
        if decoding:
            heap[0] = heap[decoding]
            _down(facts, heap, decoding, 0)
        facts[slot, SAID] = facts[slot, TOKENS_OUT]
        counts[replica, HELD] -= facts[slot, TOKENS_IN] + facts[slot, TOKENS_OUT]
        done[found] = slot
        found += 1
    slot = counts[replica, READ_HEAD]
    while slot != NOBODY:
        facts[slot, UNREAD] -= facts[slot, TAKE]
        facts[slot, TAKE] = 0
        if facts[slot, UNREAD]:
            break  # prompts are read in their order, so that nobody after it is through
        following = facts[slot, NEXT]
        counts[replica, READ_HEAD] = following
        if following == NOBODY:
            counts[replica, READ_TAIL] = NOBODY
        facts[slot, SAID] += 1
        counts[replica, USED] += 1
        counts[replica, ANSWERS] += 1
        if times[slot, FIRST] < 0:
            times[slot, FIRST] = now
        if facts[slot, SAID] >= facts[slot, TOKENS_OUT]:
            done[found] = slot
            found += 1
        else:
            facts[slot, STATE] = DECODES
            facts[slot, DONE_STEP] = counts[replica, STEPS] + facts[slot, TOKENS_OUT] - facts[slot, SAID]
            counts[replica, HELD] += facts[slot, TOKENS_IN] + facts[slot, SAID]
            heap[decoding] = slot
            decoding += 1
            _up(facts, heap, decoding - 1)
        slot = following
    counts[replica, DECODING] = decoding
    for at in range(1, found):
        slot, to = done[at], at
        while to > 0 and facts[done[to - 1], SERIAL] > facts[slot, SERIAL]:
            done[to] = done[to - 1]
            to -= 1
        done[to] = slot
    for at in range(found):
        slot = done[at]
        _leave(counts, facts, replica, slot)
        counts[replica, USED] -= facts[slot, TOKENS_IN] + facts[slot, TOKENS_OUT]
        counts[replica, ANSWERS] -= facts[slot, TOKENS_OUT]
        counts[replica, LOAD] -= 1
    for at in range(found):
        _keep(counts, facts, segments, tables[replica], nodes[replica], replica, done[at], facts[done[at], TOKENS_OUT])
    return found


# All of them.


@compiled
def run(floats, counts, times, facts, segments, heaps, tables, nodes, ends, meta, free, done, out_times, out_facts, until, most):
    """Let time pass until `until`, or until `most` or a few more are done. Returns how many are; `out_times` and `out_facts` hold them."""
    found = 0
    while meta[ENDS]:
        replica = ends[0]
        now = floats[replica, RUN_END]
        if now > until or found >= most:
            break
        count = _end(floats, counts, times, facts, segments, heaps, tables, nodes, replica, done)
        for at in range(count):
            slot = done[at]
            out_times[found, 0], out_times[found, 1], out_times[found, 2] = now, times[slot, FIRST], times[slot, STARTED]
            out_facts[found, 0], out_facts[found, 1] = slot, replica
            out_facts[found, 2], out_facts[found, 3] = facts[slot, HIT], facts[slot, PREEMPTED]
            free[meta[SLOTS_FREE]] = slot
            meta[SLOTS_FREE] += 1
            found += 1
        _begin(floats, counts, times, facts, segments, heaps, tables, nodes, replica, now)
        _enlist(floats, counts, meta, ends, replica)
    return found


@compiled
def _rank(affinity, replica):
    mixed = (affinity ^ (replica * 0x9E3779B1)) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0x7FFFFFFF
    return ((mixed ^ (mixed >> 12)) * 0x297A2D39) & 0x7FFFFFFF


@compiled
def pick(counts, first, count, within, turn, affinity):
    """Which replica of a block takes a request; -1: none is alive."""
    alive = total = 0
    least = NOBODY
    for replica in range(first, first + count):
        if counts[replica, ALIVE]:
            alive += 1
            total += counts[replica, LOAD]
            if least == NOBODY or counts[replica, LOAD] < counts[least, LOAD]:
                least = replica
    if not alive:
        return NOBODY
    if within == 0:
        left = turn % alive
        for replica in range(first, first + count):
            if counts[replica, ALIVE]:
                if not left:
                    return replica
                left -= 1
    if within == 2 and affinity:
        room = CROWDED * (1 + total) / alive
        best, highest = NOBODY, NOBODY
        for replica in range(first, first + count):
            if counts[replica, ALIVE] and (counts[replica, LOAD] < ROOMY or counts[replica, LOAD] < room):
                ranked = _rank(affinity, replica)
                if ranked > highest:
                    best, highest = replica, ranked
        if best != NOBODY:
            return best
    return least


@compiled
def submit(
    floats, counts, times, facts, segments, heaps, tables, nodes, ends, meta, free, replica, now, tokens_in, tokens_out, count, grows
):
    """Put a request, whose segments stand in the row of the slot that is free next, in a replica's line. Returns its slot."""
    meta[SLOTS_FREE] -= 1
    slot = free[meta[SLOTS_FREE]]
    times[slot, STARTED] = times[slot, FIRST] = -1.0
    facts[slot, :] = 0
    facts[slot, TOKENS_IN], facts[slot, TOKENS_OUT], facts[slot, REPLICA] = tokens_in, tokens_out, replica
    facts[slot, NEXT] = facts[slot, BEFORE] = facts[slot, AFTER] = NOBODY
    facts[slot, GROWS], facts[slot, SEGMENTS] = grows, count
    facts[slot, SERIAL] = meta[SERIALS]
    meta[SERIALS] += 1
    counts[replica, LOAD] += 1
    if counts[replica, WAIT_TAIL] == NOBODY:
        counts[replica, WAIT_HEAD] = slot
    else:
        facts[counts[replica, WAIT_TAIL], NEXT] = slot
    counts[replica, WAIT_TAIL] = slot
    if floats[replica, RUN_END] == inf:
        _begin(floats, counts, times, facts, segments, heaps, tables, nodes, replica, now)
    else:
        _cut(floats, counts, replica, now)
    _enlist(floats, counts, meta, ends, replica)
    return slot


@compiled
def submit_two(
    floats,
    counts,
    times,
    facts,
    segments,
    heaps,
    tables,
    nodes,
    ends,
    meta,
    free,
    first,
    size,
    within,
    turn,
    affinity,
    now,
    tokens_in,
    tokens_out,
    count,
    key_one,
    tokens_one,
    key_two,
    tokens_two,
    grows,
):
    """`pick` and `submit` in one call, for a prompt of up to two segments, or of those that stand in the row already."""
    replica = pick(counts, first, size, within, turn, affinity)
    if replica == NOBODY or tokens_in + tokens_out + 1 > counts[replica, KV]:
        return NOBODY
    if count <= 2:
        slot = free[meta[SLOTS_FREE] - 1]
        segments[slot, 0], segments[slot, 1] = key_one, tokens_one
        segments[slot, 2], segments[slot, 3] = key_two, tokens_two
    return submit(
        floats, counts, times, facts, segments, heaps, tables, nodes, ends, meta, free, replica, now, tokens_in, tokens_out, count, grows
    )


@compiled
def cut(floats, counts, meta, ends, replica, now):
    """Let what the replica does end with the step that is on."""
    if floats[replica, RUN_END] != inf:
        _cut(floats, counts, replica, now)
        _enlist(floats, counts, meta, ends, replica)


@compiled
def halt(floats, counts, meta, ends, replica):
    """It does nothing any more."""
    floats[replica, RUN_END] = inf
    _enlist(floats, counts, meta, ends, replica)


__all__ = ["cut", "halt", "pick", "run", "submit", "submit_two"]
