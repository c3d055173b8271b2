"""Reports are the same whether they read sums or attempts, whatever hours are stale, and logs of older formats are read."""

import struct
from random import Random
from zlib import crc32

import msgspec
import pytest

from headrace.core.clock import SECOND
from headrace.core.usage import NOTHING, Usage
from headrace.metering import Ledger
from headrace.storage import balances, connect, load_once, tallies, usage_by, verify
from headrace.storage.books import HOUR, Bookkeeper
from headrace.storage.database import transaction
from headrace.storage.rollups import tidy
from headrace.storage.segment import framed
from tests.unit.metering.builders import admit, lost, settle

START = 1_795_000 * 3_600 * SECOND // 3_600 * 1_000


@pytest.fixture
def database(layout):
    database = connect(layout.database)
    yield database
    database.close()


def attempts(rng: Random, count: int) -> list[tuple[int, str, Usage]]:
    return [
        (START + rng.randrange(9 * HOUR), f"k{rng.randrange(3)}", Usage(rng.randrange(99), output=rng.randrange(9))) for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_those_of_the_attempts(database, seed):
    rng, said = Random(seed), []
    books = Bookkeeper(database)
    for part in range(4):
        new = attempts(rng, 40)
        with transaction(database):
            books.book(
                [
                    settle(admit(f"{part}-{at}", key=key, moment=moment), usage=usage, moment=moment + 9)
                    for at, (moment, key, usage) in enumerate(new)
                ]
            )
        said += new
        tidy(database, rng.randrange(9))  # some hours are summed up, some are stale
        for _ in range(20):
            since, until = sorted(START - HOUR + rng.randrange(12 * HOUR) for _ in range(2))
            since, until = rng.choice([(since, until), (since // HOUR * HOUR, until // HOUR * HOUR), (0, 2**62)])
            width = rng.choice([60 * SECOND, HOUR, 24 * HOUR, HOUR * 10**6])
            found = tallies(database, ("key",), since=since, until=until, width=width)
            expected: dict[tuple[int, tuple[str, ...]], list[int]] = {}
            for moment, key, usage in said:
                if since <= moment < until:
                    sums = expected.setdefault((moment // width, (key,)), [0, 0])
                    sums[0] += 1
                    sums[1] += usage.total
            assert {name: [tally.requests, tally.usage.total] for name, tally in found.items()} == expected


def test_the_hour_that_runs_is_not_summed_up(database):
    with transaction(database):
        Bookkeeper(database).book([settle(admit("a", moment=START)), settle(admit("b", moment=START + 2 * HOUR))])
    assert tidy(database) == 1
    assert tidy(database) == 0
    assert database.execute("SELECT count(*) FROM rollup").fetchone() == (1,)


def test_an_attempt_that_is_corrected_makes_its_hour_stale(database):
    with transaction(database):
        Bookkeeper(database).book([lost(admit("a", moment=START, bound_pico=7)), settle(admit("b", moment=START + 2 * HOUR))])
    tidy(database)
    with transaction(database):
        Bookkeeper(database).book([settle(admit("a", moment=START, bound_pico=7), cost_pico=5)])
    assert tallies(database, (), since=START, until=START + HOUR)[START // (HOUR * 10**6), ()].cost_pico == 5


def test_what_can_not_be_asked_is_said(database):
    with pytest.raises(ValueError, match="can't be grouped by 'colour'"):
        tallies(database, ("colour",))  # type: ignore[arg-type]
    assert tallies(database, ("user", "vendor", "silicon"), places={}) == {}
    assert tidy(database) == 0


OLD_HEADER = struct.Struct("<8sHHIq36s")


def test_a_log_of_the_format_before_is_read(layout, database):
    """Its ends have eight counts and end with what was translated; nothing tells tiers, purchases or tools."""
    fields = OLD_HEADER.pack(b"HRUSAGE\n", 2, 0, 1, 1, b"x")
    content = (fields + struct.pack("<I", crc32(fields))).ljust(64, b"\0")
    one = admit("a")
    old_admit = [
        1,
        "a",
        0,
        1_000,
        "acme",
        "demo",
        "key_1",
        "enterprise",
        "chat",
        one.model,
        "embedded",
        True,
        [1_000, 0, 0, 500, 0, 0, 0, 0],
        9,
        one.price,
        None,
        [],
    ]
    ends = [
        [2, old_admit, 2_000, [100, 20, 3, 7, 2, 1, 1, 1], 12_345, "confirmed", "completed", 12, 340, "SmolLM2", []],
        [4, [1, "v", *old_admit[2:]], 2_000, "upstream_unreachable"],
        [3, [1, "l", *old_admit[2:]], 3_000],
    ]
    at = len(content)
    content += framed(msgspec.msgpack.encode(old_admit), at)
    content += framed(msgspec.msgpack.encode(ends[0]), at)
    at = len(content)
    content += framed(msgspec.msgpack.encode(ends[1][1]), at)
    content += framed(msgspec.msgpack.encode(ends[1]), at)
    content += framed(msgspec.msgpack.encode(ends[2]))
    at = len(content)
    content += framed(msgspec.msgpack.encode([1, "h", *old_admit[2:]]), at)
    (layout.usage / "0000000000001-1-000000.sealed").write_bytes(content)
    load_once(layout, 1)
    (row,) = usage_by(database, ())
    assert (row.requests, row.lost, row.held, row.cost_pico) == (2, 1, 1, 12_345 + 9)
    assert row.usage == Usage(1_100, 20, 3, 507, 2, 1, 1, 1)
    assert verify(database, layout.usage) == []
    assert balances(database) == Ledger([settle(one, cost_pico=12_345), lost(admit("l", bound_pico=9))]).balances
    assert NOTHING.total == 0
