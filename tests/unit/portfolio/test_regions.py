"""Places: what follows from where a region is and who runs it, and that nothing follows from what isn't known."""

from collections import Counter
from datetime import date

import pytest

from headrace.portfolio.jurisdictions import COUNTRIES, jurisdictions_of
from headrace.portfolio.regions import parse_regions
from tests.unit.portfolio.shipped import DATED, SHIPPED

EU = {"eu", "eea", "eea-ch"}

HOLDS = [
    # cloud         region                what may be required of it
    ("oci",         "eu-frankfurt-1",     {"de"} | EU),
    ("oci",         "eu-frankfurt-2",     {"de", "eu-sovereign"} | EU),
    ("oci",         "eu-madrid-2",        {"es", "eu-sovereign"} | EU),
    ("oci",         "eu-zurich-1",        {"ch", "eea-ch"}),
    ("oci",         "eu-jovanovac-1",     {"rs", "rs-oc20"}),
    ("oci",         "eu-dcc-rating-1",    {"de", "eu-oc14"} | EU),
    ("oci",         "us-langley-1",       {"us", "us-gov"}),
    ("oci",         "us-gov-phoenix-1",   {"us", "us-gov"}),
    ("oci",         "us-phoenix-1",       {"us"}),
    ("oci",         "uk-gov-london-1",    {"gb", "uk", "uk-gov"}),
    ("oci",         "ap-chiyoda-1",       {"jp", "jp-oc8"}),
    ("aws",         "eu-central-1",       {"de"} | EU),
    ("aws",         "eusc-de-east-1",     {"de", "eu-sovereign"} | EU),
    ("aws",         "us-gov-west-1",      {"us", "us-gov"}),
    ("aws",         "us-iso-east-1",      {"us", "us-iso"}),
    ("aws",         "eu-isoe-west-1",     {"isoe"}),
    ("aws",         "cn-north-1",         {"cn", "cn-separate"}),
    ("aws",         "ap-east-1",          {"hk"}),
    ("aws",         "aws-global",         set()),
    ("aws",         "global",             set()),
    ("azure",       "swedencentral",      {"se"} | EU),
    ("azure",       "uksouth",            {"gb", "uk"}),
    ("azure",       "norwayeast",         {"no", "eea", "eea-ch"}),
    ("azure",       "usgovvirginia",      {"us", "us-gov"}),
    ("azure",       "chinanorth3",        {"cn", "cn-separate"}),
    ("azure",       "global",             set()),
    ("azure",       "datazone-eu",        EU),
    ("azure",       "datazone-us",        {"us"}),
    ("gcp",         "europe-west6",       {"ch", "eea-ch"}),
    ("gcp",         "europe-west3",       {"de"} | EU),
    ("gcp",         "eu",                 EU),
    ("gcp",         "global",             set()),
    ("coreweave",   "EU-NORTH-02A",       {"no", "eea", "eea-ch"}),
    ("coreweave",   "US-EAST-04A",        {"us"}),
    ("nebius",      "eu-north1",          {"fi"} | EU),
    ("openai",      "global",             set()),
    ("openai",      "us",                 {"us"}),
    ("openai",      "eu",                 {"eea-ch"}),
    ("openai",      "jp",                 set()),
    ("anthropic",   "us",                 {"us"}),
    ("anthropic",   "global",             set()),
    ("cerebras",    "global",             set()),
    ("on-premises", "local",              set()),
]  # fmt: skip


@pytest.mark.parametrize(("cloud", "name", "expected"), HOLDS)
def test_what_may_be_required_of_a_region(cloud: str, name: str, expected: set[str]):
    region = SHIPPED.region(cloud, name)
    assert region is not None
    assert region.jurisdictions == expected


def test_a_region_that_nobody_knows_is_no_region():
    assert SHIPPED.region("oci", "eu-frankfurt-9") is None
    assert SHIPPED.region("aws", "eu-frankfurt-1") is None


def test_the_shipped_regions_are_all_there():
    held = Counter(cloud for cloud, _ in SHIPPED.regions)
    assert held == {
        "oci": 85,
        "azure": 73,
        "aws": 56,
        "gcp": 48,
        "coreweave": 23,
        "openai": 11,
        "nebius": 8,
        "anthropic": 2,
        "cerebras": 1,
    } | {"on-premises": 1}


def test_the_rules_speak_of_realms_that_exist():
    realms = {f"{region.cloud}/{region.realm}" for region in SHIPPED.regions.values()}
    assert {realm for rule in SHIPPED.rules.values() for realm in rule.realms} <= realms


def test_every_realm_that_is_run_apart_can_be_required():
    public = {"oci/oc1", "aws/aws", "azure/AzureCloud", "gcp/public", "coreweave/general", "coreweave/dedicated", "nebius/public"}
    public |= {"openai/api", "anthropic/api", "cerebras/api", "on-premises/own"}
    realms = {f"{region.cloud}/{region.realm}" for region in SHIPPED.regions.values()}
    assert realms - public == {realm for rule in SHIPPED.rules.values() for realm in rule.realms}


def test_the_european_union_has_27_members_and_the_economic_area_three_more():
    assert len(SHIPPED.rules["eu"].countries) == 27
    assert SHIPPED.rules["eea"].countries - SHIPPED.rules["eu"].countries == {"IS", "LI", "NO"}
    assert SHIPPED.rules["eea-ch"].countries - SHIPPED.rules["eea"].countries == {"CH"}


def test_who_runs_a_realm_under_which_law():
    chinese, sovereign, public = (
        SHIPPED.region("azure", "chinaeast2"),
        SHIPPED.region("aws", "eusc-de-east-1"),
        SHIPPED.region("aws", "eu-west-1"),
    )
    assert chinese is not None
    assert sovereign is not None
    assert public is not None
    assert (chinese.operator_country, sovereign.operator_country, public.operator_country) == ("CN", "DE", None)
    cloud = SHIPPED.cloud("aws")
    assert cloud is not None
    assert cloud.operator_country == "US"


def test_a_promise_that_holds_at_one_host_names_it():
    promised = {(cloud, name): region.host for (cloud, name), region in SHIPPED.regions.items() if region.host}
    assert promised == {
        ("openai", "eu"): "eu.api.openai.com",
        ("openai", "us"): "us.api.openai.com",
        ("gcp", "eu"): "aiplatform.eu.rep.googleapis.com",
        ("gcp", "us"): "aiplatform.us.rep.googleapis.com",
    }


def test_carbon_is_known_of_the_regions_of_google():
    grids = {region.name: region.carbon_g_per_kwh for region in SHIPPED.regions.values() if region.carbon_g_per_kwh is not None}
    assert len(grids) == 44
    assert (grids["europe-north2"], grids["asia-south1"]) == (2.73, 678.76)
    assert {region.cloud for region in SHIPPED.regions.values() if region.carbon_g_per_kwh is not None} == {"gcp"}


def test_every_region_says_where_its_facts_are_from_and_of_which_day():
    assert all(region.source and region.as_of and region.as_of <= date(2026, 11, 23) for region in SHIPPED.regions.values())


OWN = [
    # country   what holds
    (None,      set()),
    ("DE",      {"de"} | EU),
    ("CH",      {"ch", "eea-ch"}),
    ("JP",      {"jp"}),
]  # fmt: skip


@pytest.mark.parametrize(("country", "expected"), OWN)
def test_a_place_of_ones_own_is_where_the_settings_say(country: str | None, expected: set[str]):
    region = SHIPPED.on_premises(country, "cellar")
    assert (region.cloud, region.name, region.country) == ("on-premises", "cellar", country)
    assert region.jurisdictions == expected
    assert (region.source, region.as_of) == ("the settings", None)


@pytest.mark.parametrize("country", ["UK", "de", "Germany", "", "EU"])
def test_what_is_no_country_is_refused(country: str):
    with pytest.raises(ValueError, match="no country code of ISO 3166 in capitals"):
        SHIPPED.on_premises(country)


def test_a_realm_gives_nothing_where_no_realm_is_known():
    assert jurisdictions_of(frozenset(), None, SHIPPED.rules.values()) == frozenset()


def test_there_are_249_countries():
    assert len(COUNTRIES) == 249


REALM = '[[realm]]\ncloud = "c"\nname = "n"\n'
WRONG = [
    # the text                                                                     the error says
    (f'{DATED}{REALM}regions = {{ XX = ["r"] }}',                                  "in 'XX': that is neither a country code nor a jur"),
    (f'{DATED}{REALM}regions = {{ DE = "r" }}',                                    "regions are not right: Expected `array`, got `str`"),
    (f'{DATED}{REALM}',                                                            "missing required field `regions`"),
    (f'{REALM}regions = {{ DE = ["r"] }}',                                         "missing required field `source`"),
    (f'{DATED}{REALM}regions = {{}}\nregion = 1',                                  "unknown field `region`"),
    (f'{DATED}[[realms]]\nx = 1',                                                  "have tables that nobody reads: realms"),
    ("[[realm",                                                                    "the regions are not TOML"),
    (f'{DATED}[[jurisdiction]]\nname = "j"\ntitle = "J"\ncountries = ["UK"]',      "j: UK is no country code"),
    (f'{DATED}[[jurisdiction]]\nname = "fr"\ntitle = "F"',                         "fr can't name a jurisdiction"),
    (f'{DATED}[[jurisdiction]]\nname = "EU"\ntitle = "E"',                         "EU can't name a jurisdiction"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_what_is_wrong_is_said(text: str, says: str):
    with pytest.raises(ValueError, match=says):
        parse_regions(text)


def test_a_table_says_better_than_its_file():
    text = f'{DATED}{REALM}as_of = 2025-01-02\nregions = {{ anywhere = ["r"] }}'
    (region,) = parse_regions(text).regions
    assert (region.source, region.as_of, region.country, region.jurisdictions) == ("a test", date(2025, 1, 2), None, frozenset())
