"""The usage log's records: small, self-contained, and of one mind about which of them holds."""

import msgspec
import pytest

from headrace.core.translation import Change
from headrace.core.usage import NOTHING
from headrace.metering import Aside, Evidence, Record, admitted, standing
from tests.unit.metering.builders import BOUND, admit, lost, settle, void

RECORDS: list[Record] = [admit(), settle(admit()), lost(admit()), void(admit())]
PLACED = msgspec.structs.replace(admit(), evidence="e" * 24, placed=tuple((number, number % 5, number / 3) for number in range(64)))
TRANSLATED = msgspec.structs.replace(settle(PLACED), translation=(Change("dropped", "logit_bias", "it has none"),))


@pytest.mark.parametrize("record", [*RECORDS, PLACED, TRANSLATED, Evidence("e1", 5, bytes(60_000))])
def test_a_record_comes_back_from_its_bytes(record):
    payload = msgspec.msgpack.encode(record)
    assert msgspec.msgpack.decode(payload, type=Record | Aside) == record


def test_how_long_records_are():
    assert max(len(msgspec.msgpack.encode(record)) for record in RECORDS) < 230
    assert len(msgspec.msgpack.encode(PLACED)) < 1_050


def test_what_was_said_before_there_was_placing_and_translation_is_read():
    older = msgspec.to_builtins(settle(admit()))[:-1]
    older[1] = older[1][:-2]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(older), type=Record) == settle(admit())


@pytest.mark.parametrize("record", RECORDS)
def test_every_record_knows_its_admission(record):
    assert admitted(record) == admit()
    assert admitted(record).id == ("req_1", 0)


def test_what_a_record_says_of_its_attempt():
    stands = [standing(record) for record in RECORDS]
    assert [one.state for one in stands] == ["held", "confirmed", "lost", "void"]
    assert [one.usage for one in stands] == [BOUND, settle(admit()).usage, BOUND, NOTHING]
    assert [one.cost_pico for one in stands] == [None, 12_345, 30_000_000, None]


def test_ends_win_over_losses_and_losses_over_admits():
    held, confirmed, gone, voided = (standing(record).precedence for record in RECORDS)
    estimated = standing(msgspec.structs.replace(settle(admit(), moment=9_999), state="estimated")).precedence
    assert held < gone < voided < estimated < confirmed


def test_of_two_settles_the_later_holds_and_then_the_dearer():
    a = admit()
    ordered = [
        settle(a, moment=1, cost_pico=9),
        settle(a, moment=2, cost_pico=None),
        settle(a, moment=2, cost_pico=0),
        settle(a, moment=2, cost_pico=5),
    ]
    ranks = [standing(record).precedence for record in ordered]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)
