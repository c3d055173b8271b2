"""The catalog: it holds together, and where it doesn't know a name it says which was meant."""

import pytest

from headrace.portfolio.catalog import CatalogKind
from headrace.portfolio.clouds import parse_clouds
from headrace.portfolio.silicon import Silicon
from tests.unit.portfolio.shipped import DATED, SHIPPED, a_catalog

CLOUDS = ["anthropic", "aws", "azure", "cerebras", "coreweave", "gcp", "nebius", "oci", "on-premises", "openai"]


def test_the_clouds_and_vendors():
    assert sorted(SHIPPED.clouds) == CLOUDS
    kinds = {name: cloud.kind for name, cloud in SHIPPED.clouds.items()}
    assert {name for name, kind in kinds.items() if kind == "vendor"} == {"anthropic", "cerebras", "openai"}
    assert kinds["on-premises"] == "on-premises"
    assert SHIPPED.cloud("ibm") is None
    assert {cloud.operator_country for cloud in SHIPPED.clouds.values()} == {"US", "NL", None}


NEAR: list[tuple[CatalogKind, str, str | None, tuple[str, ...]]] = [
    # kind            what was written       of cloud   what may have been meant
    ("cloud",         "azur",                None,      ("azure",)),
    ("cloud",         "Core-Weave",          None,      ("coreweave",)),
    ("region",        "eu-frankfort-2",      "oci",     ("eu-frankfurt-2", "eu-frankfurt-1")),
    ("region",        "frankfurt",           "oci",     ("eu-frankfurt-1", "eu-frankfurt-2")),
    ("region",        "us-east-04a",         None,      ("US-EAST-04A",)),
    ("region",        "us-east-04a",         "gcp",     ("us-east4",)),
    ("silicon",       "h100",                None,      ("nvidia-h100", "nvidia-h100-nvl")),
    ("silicon",       "amd-mi355",           None,      ("amd-mi355x", "amd-mi350x", "amd-mi325x")),
    ("model",         "deepseek",            None,      ("deepseek-r1", "deepseek-r1-0528", "deepseek-v3")),
    ("jurisdiction",  "eu-sovreign",         None,      ("eu-sovereign",)),
    ("jurisdiction",  "de ",                 None,      ("de",)),
    ("silicon",       "quantum",             None,      ()),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "cloud", "expected"), NEAR)
def test_what_may_have_been_meant(kind: CatalogKind, name: str, cloud: str | None, expected: tuple[str, ...]):
    assert SHIPPED.nearest(kind, name, cloud=cloud)[: len(expected) or 1] == expected


def test_every_jurisdiction_of_a_region_can_be_required():
    assert frozenset().union(*(region.jurisdictions for region in SHIPPED.regions.values())) <= SHIPPED.jurisdictions
    assert {"li", "eu", "us-gov"} <= SHIPPED.jurisdictions
    assert "moon" not in SHIPPED.jurisdictions


def test_silicon_of_ones_own_takes_the_place_of_the_shipped():
    mine = Silicon(name="nvidia-h100", memory_gb=96)
    known = SHIPPED.with_silicon([mine, Silicon(name="own")])
    assert (known.silicon("nvidia-h100"), known.silicon("amd-mi300x")) == (mine, SHIPPED.silicon("amd-mi300x"))
    assert known.nearest("silicon", "own")[0] == "own"
    assert SHIPPED.silicon("own") is None, "a catalog does not change"


REALM = '[[realm]]\ncloud = "{}"\nname = "n"\nregions = {{ DE = ["{}"] }}\n'
LIST = '[[list]]\ncontract = "spot"\n{}\n'
SERVING = '[[serving]]\nmodel = "m"\ngrade = "measured"\nsilicon = "{}"\npoints = [{{ output_tokens_per_s = 1 }}]\n'

APART = [
    # what one text says                                                                        which another doesn't know
    ({"regions": REALM.format("c", "r")},                                                       "has the region r of c twice"),
    ({"regions": REALM.format("d", "r")},                                                       "speaks of cloud d"),
    ({"prices": LIST.format('cloud = "d"\nusd_per_accelerator_hour = { r = { x = "1" } }')},     "speaks of cloud d"),
    ({"prices": LIST.format('cloud = "c"\nusd_per_accelerator_hour = { s = { x = "1" } }')},     r"speaks of region \('c', 's'\)"),
    ({"prices": LIST.format('cloud = "c"\nusd_per_accelerator_hour = { r = { y = "1" } }')},     "speaks of silicon y"),
    ({"serving": SERVING.format("y")},                                                          "speaks of silicon y"),
    ({"serving": SERVING.format("x") + '[[names]]\naliases = { n = ["o"] }'},                   "speaks of model n"),
]  # fmt: skip


@pytest.mark.parametrize(("texts", "says"), APART)
def test_texts_that_contradict_each_other_are_refused(texts: dict[str, str], says: str):
    with pytest.raises(ValueError, match=says):
        a_catalog(**texts)


def test_a_small_catalog_holds_together():
    known = a_catalog(prices=LIST.format('cloud = "c"\nusd_per_accelerator_hour = { r = { x = "1" } }'), serving=SERVING.format("x"))
    assert known.list_price("c", "r", "x", "spot") is not None
    assert known.serving_point("x", "m") is not None


def test_a_cloud_of_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="the clouds are not right: Invalid enum value 'fog'"):
        parse_clouds(f'{DATED}[[cloud]]\nname = "c"\ntitle = "C"\noperator = "C"\nkind = "fog"\n')
