"""The balances by the usage log alone are the ledger's, however often and in whatever order it is said."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from headrace.metering import Evidence, Ledger, Lost, Record, Settle
from headrace.storage.replay import balances_of, charged_of, days_of
from headrace.storage.segment import HEADER_SIZE, framed, header
from tests.unit.metering.builders import admit, lost, settle, void


def records() -> list[Record]:
    said: list[Record] = []
    for number in range(40):
        one = admit(str(number), organization=f"o{number % 3}", bound_pico=None if number % 7 == 0 else number)
        ends: list[Record] = [settle(one, cost_pico=number), void(one), lost(one), settle(one, cost_pico=None), settle(one, moment=9_000)]
        said += [one, ends[number % 5], *(ends[number % 3 :][:2] if number % 4 == 0 else ())]
    return said


def written(folder: Path, said: list[Record]) -> list[tuple[Path, int]]:
    parts = []
    for start in range(0, len(said), 30):
        path = folder / f"{start:013d}-1-000000.sealed"
        frames = [framed(msgspec.msgpack.encode(one)) for one in (*said[start : start + 30], Evidence("e", 1, b""))]
        path.write_bytes(header(1, 1, "x") + b"".join(frames))
        parts.append((path, path.stat().st_size))
    return parts


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_ledgers(tmp_path, seed):
    rng, said = Random(seed), records()
    if seed:
        said += rng.choices(said, k=20)
        rng.shuffle(said)
    parts = written(tmp_path, said)
    assert balances_of(parts) == Ledger(said).balances
    first, rest = parts[0], parts[1:]
    assert balances_of([(first[0], HEADER_SIZE), *rest]) == Ledger(said[30:]).balances


@pytest.mark.parametrize("seed", range(6))
def test_an_account_and_a_day_are_charged_what_the_best_record_says(tmp_path, seed):
    rng, said = Random(seed), []
    for number, one in enumerate(records()):
        at = one if not hasattr(one, "admitted") else one.admitted
        number = int(at.request)
        changed = msgspec.structs.replace(at, accounts=tuple(range(number % 4)), moment=number * 86_400 * 10**9 // 10, buy="acme/m@1")
        ended = isinstance(one, Settle)
        said.append(changed if at is one else msgspec.structs.replace(one, admitted=changed, **({"buy_pico": 3} if ended else {})))
    if seed:
        said += rng.choices(said, k=20)
        rng.shuffle(said)
    accounts: dict[int, int] = {}
    days: dict[int, tuple[int, int]] = {}
    for stands in Ledger(said).standings.values():
        held = isinstance(stands, Lost) or stands.state == "lost"
        cost = (stands.admitted.bound_pico if held else stands.cost_pico) or 0
        for account in stands.admitted.accounts:
            accounts[account] = accounts.get(account, 0) + cost
        day = stands.admitted.moment // (86_400 * 10**9)
        charged, bought = days.get(day, (0, 0))
        days[day] = charged + cost, bought + (stands.buy_pico or 0)
    parts = written(tmp_path, said)
    assert charged_of(parts) == {account: pico for account, pico in accounts.items() if pico}
    assert days_of(parts) == {day: sums for day, sums in days.items() if any(sums)}
