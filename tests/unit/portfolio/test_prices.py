"""List prices: the most specific row that holds at a place, and of those the latest."""

from datetime import date

import pytest

from headrace.portfolio.catalog import Catalog
from headrace.portfolio.prices import parse_list_prices
from tests.unit.portfolio.shipped import DATED, SHIPPED, a_catalog

USD = 10**12

SHIPPED_PRICES = [
    # cloud         region             silicon             contract       $ an accelerator-hour       grade
    ("oci",         "eu-frankfurt-2",  "amd-mi355x",       "on_demand",   (8.60, 8.60),               "list"),
    ("oci",         "us-ashburn-1",    "nvidia-gb300",     "on_demand",   (18, 18),                   "list"),
    ("aws",         "us-east-1",       "nvidia-h100",      "on_demand",   (6.88, 6.88),               "list"),
    ("aws",         "ap-northeast-2",  "nvidia-h100",      "on_demand",   (9.4944, 9.4944),           "list"),
    ("aws",         "us-east-1",       "nvidia-h100",      "spot",        (1.28, 3.21875),            "list"),
    ("aws",         "us-east-1",       "aws-trainium1",    "reserved",    (0.5123125, 0.5123125),     "list"),
    ("aws",         "eu-west-1",       "nvidia-h100",      "on_demand",   None,                       None),
    ("azure",       "eastus",          "nvidia-h100",      "on_demand",   (12.29, 12.29),             "list"),
    ("gcp",         "europe-west4",    "google-tpu-v6e",   "spot",        (1.04, 1.04),               "list"),
    ("coreweave",   "US-WEST-04A",     "nvidia-b200",      "on_demand",   (8.60, 8.60),               "list"),
    ("coreweave",   "CA-EAST-01A",     "nvidia-h200",      "spot",        (2.61625, 2.61625),         "list"),
    ("coreweave",   "EU-WEST-01A",     "nvidia-b200",      "on_demand",   None,                       None),
    ("nebius",      "eu-north1",       "nvidia-h200",      "on_demand",   (3.50, 3.50),               "list"),
    ("on-premises", "local",           "nvidia-h100",      "owned",       (1.30, 1.69),               "estimated"),
    ("on-premises", "local",           "cerebras-cs3",     "owned",       (41.96, 41.96),             "estimated"),
    ("azure",       "westeurope",      "amd-mi300x",       "reserved",    (1.55, 1.55),               "estimated"),
    ("oci",         "eu-frankfurt-2",  "google-tpu-v6e",   "on_demand",   None,                       None),
]  # fmt: skip


@pytest.mark.parametrize(("cloud", "region", "silicon", "contract", "usd", "grade"), SHIPPED_PRICES)
def test_what_clouds_ask(cloud, region, silicon, contract, usd, grade):
    row = SHIPPED.list_price(cloud, region, silicon, contract)
    if row is None:
        assert usd is None
        return
    assert (row.pico_per_accelerator_hour_min / USD, row.pico_per_accelerator_hour_max / USD) == usd
    assert row.grade == grade
    assert row.source
    assert row.as_of <= date(2026, 11, 23)


def priced(*lists: str) -> Catalog:
    return a_catalog(prices="".join(f'[[list]]\ncontract = "spot"\n{each}\n' for each in lists))


AT_R = 'cloud = "c"\nusd_per_accelerator_hour = { r = { x = "1" } }'
AT_R_LATER = 'cloud = "c"\nas_of = 2026-12-01\nusd_per_accelerator_hour = { r = { x = "2" } }'
IN_GERMANY = 'cloud = "c"\nusd_per_accelerator_hour = { DE = { x = "3" } }'
IN_FRANCE_LATER = 'cloud = "c"\nas_of = 2026-12-01\nusd_per_accelerator_hour = { FR = { x = "4" } }'
EVERYWHERE_LATER = 'cloud = "c"\nas_of = 2026-12-01\nusd_per_accelerator_hour = { "*" = { x = "5" } }'
ANY_CLOUD_LATEST = 'as_of = 2026-12-31\nusd_per_accelerator_hour = { "*" = { x = "6" } }'

HOLDS = [
    # rows                                                   at region   holds
    ([AT_R, AT_R_LATER],                                     "r",        2),
    ([AT_R_LATER, AT_R],                                     "r",        2),
    ([AT_R, IN_GERMANY, EVERYWHERE_LATER, ANY_CLOUD_LATEST], "r",        1),
    ([IN_GERMANY, IN_FRANCE_LATER, EVERYWHERE_LATER],        "r",        3),
    ([IN_FRANCE_LATER, EVERYWHERE_LATER, ANY_CLOUD_LATEST],  "r",        5),
    ([IN_FRANCE_LATER, ANY_CLOUD_LATEST],                    "r",        6),
    ([AT_R, IN_GERMANY, EVERYWHERE_LATER],                   "s",        5),
    ([AT_R, IN_GERMANY, IN_FRANCE_LATER],                    "s",        None),
    ([],                                                     "r",        None),
]  # fmt: skip


@pytest.mark.parametrize(("lists", "region", "expected"), HOLDS)
def test_which_row_holds(lists: list[str], region: str, expected: int | None):
    row = priced(*lists).list_price("c", region, "x", "spot")
    assert (row and row.pico_per_accelerator_hour_max) == (expected and expected * USD)


def test_a_row_of_another_cloud_never_holds():
    assert priced(AT_R, EVERYWHERE_LATER).list_price("d", "r", "x", "spot") is None


WRONG = [
    ('usd_per_accelerator_hour = { r = { x = "a lot" } }',       r"the spot price of x at c in r: 'a lot' is not an amount"),
    ('usd_per_accelerator_hour = { r = { x = ["2", "1"] } }',    "the spot price of x at c in r ends below its beginning"),
    ('usd_per_accelerator_hour = { r = { x = ["2"] } }',         "the list prices are not right: Expected `array` of length 2"),
    ('usd_per_accelerator_hour = { r = { x = 2.0 } }',           "Expected `str | array`, got `float`"),
    ('usd_per_accelerator_hour = {}\ngrade = "haggled"',         "Invalid enum value 'haggled'"),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "says"), WRONG)
def test_what_is_wrong_is_said(toml: str, says: str):
    with pytest.raises(ValueError, match=says):
        parse_list_prices(f'{DATED}[[list]]\ncontract = "spot"\ncloud = "c"\n{toml}')
