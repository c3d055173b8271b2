"""The compiled fleet does what the plain one does, to 1e-9, whatever comes, dies and slows down."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.simulator.fleet import WITHIN, Block, Fleet
from headrace.simulator.reference import ReferenceFleet
from headrace.simulator.service import Service


def blocks(chance: Random) -> list[Block]:
    made = []
    for _ in range(chance.randint(1, 2)):
        service = Service(
            model="m",
            silicon="s",
            engine="e",
            precision="p",
            step_ms=chance.uniform(1, 20),
            sequence_ms=chance.choice([0, chance.uniform(0, 0.5)]),
            held_ms=chance.choice([0, chance.uniform(0, 1e-3)]),
            prompt_ms=chance.uniform(0.001, 0.1),
            spare_tokens=chance.choice([0, 30]),
            batch_max=chance.choice([2, 8, 64]),
            chunk_tokens=chance.choice([16, 128, 2_048]),
            kv_tokens=chance.choice([400, 2_000, 20_000]),
            grade="estimated",
            source="chance",
        )
        within = chance.choice(WITHIN)
        offload, block = chance.choice([0, 0, 500]), chance.choice([1, 16])
        made.append(Block(service=service, replicas=chance.randint(1, 3), within=within, cached_block=block, offload_tokens=offload))
    return made


def told(fleet: Fleet, held: list[Block], chance: Random, calls: int) -> list[tuple[Any, ...]]:
    """All that the fleet says, with the calls' own numbers in place of its slots."""
    now, by_slot, said = 0.0, dict[int, int](), list[tuple[Any, ...]]()
    count = sum(block.replicas for block in held)

    def hear(until: float) -> None:
        while done := fleet.run(until, 1_000):
            said.extend((by_slot.pop(one.slot), *one[1:]) for one in done)

    for number in range(calls):
        now += chance.expovariate(1 / chance.choice([1, 30, 200]))
        hear(now)
        if chance.random() < 0.02:
            dead = chance.randrange(count)
            said.extend((by_slot.pop(slot), "lost", heard) for slot, heard in fleet.stop(dead))
            if chance.random() < 0.8:
                fleet.start(dead)
        if chance.random() < 0.05:
            fleet.pace(now, chance.randrange(count), chance.choice([1, 2.5]))
        block = chance.randrange(len(held))
        room = held[block].service.kv_tokens
        tokens_in, tokens_out = chance.randint(1, room // 2), chance.randint(1, room // 3)
        segments = list[tuple[int, int]]()
        for key in [chance.randint(1, 6), 100 + chance.randint(1, 10)][: chance.randint(0, 2)]:
            left = tokens_in - sum(tokens for _, tokens in segments)
            if left > 0:
                segments.append((key, chance.randint(1, left)))
        affinity, grows = chance.choice([0, chance.randint(1, 99)]), chance.random() < 0.7
        slot = fleet.submit(now, block, tokens_in, tokens_out, tuple(segments), affinity=affinity, grows=grows)
        if slot >= 0:
            by_slot[slot] = number
        else:
            said.append((number, "refused"))
        if chance.random() < 0.1:
            for replica in range(count):
                load, _, cached, preemptions = fleet.held(replica)
                said.append((load, cached, preemptions))
    hear(1e15)
    assert not by_slot
    return said


@given(seed=st.integers(0, 1 << 32))
@settings(deadline=None, max_examples=25)
def test_the_compiled_fleet_is_the_plain_one(seed):
    held = blocks(Random(seed))
    plain = told(ReferenceFleet(held), held, Random(seed + 1), 80)
    from headrace.simulator.compiled import CompiledFleet

    fast = told(CompiledFleet(held, slots=8), held, Random(seed + 1), 80)
    assert len(plain) == len(fast)
    for one, other in zip(plain, fast, strict=True):
        assert len(one) == len(other)
        for value, same in zip(one, other, strict=True):
            assert value == (pytest.approx(same, rel=1e-9, abs=1e-9) if isinstance(value, float) else same)
