"""Contracts: as settings write them, refused where they are wrong, and what an accelerator-hour costs under each."""

import tomllib

import msgspec
import pytest

from headrace.portfolio.contracts import Contract, OnDemand, Owned, Rented, Reserved, Spot, Tokens, kind_of, pico_per_accelerator_hour
from tests.unit.portfolio.shipped import SHIPPED

LISTED = SHIPPED.list_price("aws", "us-east-1", "nvidia-h100", "spot")


def read(toml: str) -> Contract:
    return msgspec.convert(tomllib.loads(f"contract = {{ {toml} }}")["contract"], Contract)  # type: ignore[no-any-return]


RIGHT = [
    # as settings write it                                                      means
    ('kind = "tokens"',                                                         Tokens()),
    ('kind = "reserved", usd_per_accelerator_hour = "8.60", accelerators = 64', Reserved(usd_per_accelerator_hour="8.60", accelerators=64)),
    ('kind = "on_demand", accelerators = 8',                                    OnDemand(accelerators=8)),
    ('kind = "on_demand", usd_per_accelerator_hour = "2.5", accelerators = 8',  OnDemand(usd_per_accelerator_hour="2.5", accelerators=8)),
    ('kind = "spot", accelerators = 1',                                         Spot(accelerators=1)),
    ('kind = "owned", usd_per_accelerator_hour = "1.48", accelerators = 9',     Owned(usd_per_accelerator_hour="1.48", accelerators=9)),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "expected"), RIGHT)
def test_as_settings_write_it(toml: str, expected: Contract):
    assert read(toml) == expected


WRONG = [
    ('kind = "leased", accelerators = 1',                                           "Invalid value 'leased'"),
    ('kind = "tokens", accelerators = 1',                                           "unknown field `accelerators`"),
    ('kind = "reserved", accelerators = 1',                                         "missing required field `usd_per_accelerator_hour`"),
    ('kind = "reserved", usd_per_accelerator_hour = 8.6, accelerators = 1',         "Expected `str`, got `float`"),
    ('kind = "reserved", usd_per_accelerator_hour = "cheap", accelerators = 1',     "'cheap' is not an amount of dollars an hour"),
    ('kind = "on_demand", usd_per_accelerator_hour = "-1", accelerators = 1',       "'-1' is not a price"),
    ('kind = "spot", usd_per_accelerator_hour = "x", accelerators = 1',             "'x' is not an amount"),
    ('kind = "owned", usd_per_accelerator_hour = "", accelerators = 1',             "'' is not an amount"),
    ('kind = "owned", usd_per_accelerator_hour = "1", accelerators = 0',            "Expected `int` >= 1"),
    ('kind = "owned"',                                                              "missing required field `accelerators`"),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "says"), WRONG)
def test_what_is_wrong_is_said(toml: str, says: str):
    with pytest.raises(msgspec.ValidationError, match=says):
        read(toml)


HOURS = [
    # contract                                                     known to lists as   with a list price    without
    (Reserved(usd_per_accelerator_hour="8.60", accelerators=64),   "reserved",         8_600_000_000_000,   8_600_000_000_000),
    (OnDemand(usd_per_accelerator_hour="2", accelerators=1),       "on_demand",        2_000_000_000_000,   2_000_000_000_000),
    (OnDemand(accelerators=1),                                     "on_demand",        3_218_750_000_000,   None),
    (Spot(accelerators=1),                                         "spot",             3_218_750_000_000,   None),
    (Owned(accelerators=1),                                        "owned",            3_218_750_000_000,   None),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "kind", "listed", "unlisted"), HOURS)
def test_what_an_accelerator_hour_costs(contract: Rented, kind: str, listed: int, unlisted: int | None):
    assert LISTED is not None
    assert kind_of(contract) == kind
    assert pico_per_accelerator_hour(contract, LISTED) == listed
    assert pico_per_accelerator_hour(contract, None) == unlisted


def test_what_is_rented_can_be_told_from_what_is_paid_by_the_token():
    assert isinstance(Owned(accelerators=1), Rented)
    assert not isinstance(Tokens(), Rented)
