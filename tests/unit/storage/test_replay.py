"""The balances by the usage log alone are the ledger's, however often and in whatever order it is said."""

from random import Random

import msgspec
import pytest

from headrace.metering import Evidence, Ledger, Record
from headrace.storage.replay import balances_of
from headrace.storage.segment import HEADER_SIZE, framed, header
from tests.unit.metering.builders import admit, lost, settle, void


def records() -> list[Record]:
    said: list[Record] = []
    for number in range(40):
        one = admit(str(number), organization=f"o{number % 3}", bound_pico=None if number % 7 == 0 else number)
        ends: list[Record] = [settle(one, cost_pico=number), void(one), lost(one), settle(one, cost_pico=None), settle(one, moment=9_000)]
        said += [one, ends[number % 5], *(ends[number % 3 :][:2] if number % 4 == 0 else ())]
    return said


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_ledgers(tmp_path, seed):
    rng, said = Random(seed), records()
    if seed:
        said += rng.choices(said, k=20)
        rng.shuffle(said)
    parts = []
    for start in range(0, len(said), 30):
        path = tmp_path / f"{start:013d}-1-000000.sealed"
        frames = [framed(msgspec.msgpack.encode(one)) for one in (*said[start : start + 30], Evidence("e", 1, b""))]
        path.write_bytes(header(1, 1, "x") + b"".join(frames))
        parts.append((path, path.stat().st_size))
    assert balances_of(parts) == Ledger(said).balances
    first, rest = parts[0], parts[1:]
    assert balances_of([(first[0], HEADER_SIZE), *rest]) == Ledger(said[30:]).balances
