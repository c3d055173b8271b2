"""Silicon: the shipped ids and what an operator may define."""

import msgspec
import pytest

from headrace.portfolio.silicon import Silicon, parse_silicon
from tests.unit.portfolio.shipped import DATED, SHIPPED

SHIPPED_SILICON = [
    # id                     vendor       GB      TB/s     W        kW, all in
    ("nvidia-a100-40gb",     "nvidia",    40,     1.555,   400,     None),
    ("nvidia-h100",          "nvidia",    80,     3.35,    700,     1.73),
    ("nvidia-b200",          "nvidia",    180,    8,       1000,    2.17),
    ("nvidia-gb300",         "nvidia",    288,    8,       1400,    None),
    ("amd-mi355x",           "amd",       288,    8,       1400,    2.65),
    ("aws-trainium3",        "aws",       144,    4.9,     None,    None),
    ("google-tpu-v7",        "google",    192,    7.38,    None,    None),
    ("cerebras-cs3",         "cerebras",  44,     21_000,  23_000,  None),
    ("cpu",                  "any",       None,   None,    None,    None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "vendor", "memory_gb", "bandwidth", "power_w", "all_in_kw"), SHIPPED_SILICON)
def test_what_silicon_is(name, vendor, memory_gb, bandwidth, power_w, all_in_kw):
    one = SHIPPED.silicon(name)
    assert one is not None
    assert (one.vendor, one.memory_gb, one.memory_bandwidth_tb_s, one.power_w, one.all_in_kw) == (
        vendor,
        memory_gb,
        bandwidth,
        power_w,
        all_in_kw,
    )


def test_ids_begin_with_their_vendor_and_every_row_says_where_it_is_from():
    assert all(name == "cpu" or name.startswith(f"{one.vendor}-") for name, one in SHIPPED.accelerators.items())
    assert all(one.title and one.source and one.as_of for one in SHIPPED.accelerators.values())


def test_what_draws_all_in_draws_more_than_the_chip_alone():
    both = [(one.power_w, one.all_in_kw) for one in SHIPPED.accelerators.values() if one.power_w and one.all_in_kw]
    assert len(both) == 7
    assert all(all_in_kw * 1_000 > power_w for power_w, all_in_kw in both)


def test_an_operator_defines_silicon_by_its_name_alone():
    assert Silicon(name="own-chip").vendor == "custom"
    assert SHIPPED.silicon("own-chip") is None


WRONG = [
    ({"name": "Own Chip"},                                "'Own Chip' can't name silicon"),
    ({"name": ""},                                        "can't name silicon"),
    ({"name": "x", "memory_gb": 0},                       "x: memory_gb must be above zero"),
    ({"name": "x", "power_w": -700},                      "x: power_w must be above zero"),
    ({"name": "x", "all_in_kw": float("inf")},            "x: all_in_kw must be above zero"),
    ({"name": "x", "memory_bandwidth_tb_s": -1},          "x: memory_bandwidth_tb_s must be above zero"),
    ({"name": "x", "tokens_per_s": 0},                    "x: tokens_per_s must be above zero"),
    ({"name": "x", "tokens_per_s": {"m": 10, "n": 0}},    "x: tokens_per_s of n must be above zero"),
    ({"name": "x", "memory": 80},                         "unknown field `memory`"),
    ({"vendor": "v"},                                     "missing required field `name`"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "says"), WRONG)
def test_what_is_wrong_is_said(settings: dict[str, object], says: str):
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert(settings, Silicon)


def test_a_wrong_row_of_the_file_is_said():
    with pytest.raises(ValueError, match=r"the silicon are not right: x: power_w must be above zero - at `\$\[0\]`"):
        parse_silicon(f'{DATED}[[silicon]]\nname = "x"\npower_w = 0\n')
