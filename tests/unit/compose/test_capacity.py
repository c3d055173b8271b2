"""Pools from settings: where a pool is follows from its region and never from what it claims, and so does what it costs."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.compose.capacity import OUTPUT_WEIGHT, SHAPE, UNKNOWN_COST, pool_of, region_of, shipped_catalog
from headrace.compose.pools import PoolSettings
from headrace.compose.prices import price_book
from headrace.compose.settings import Settings, parse_settings
from headrace.core.errors import SettingsInvalid
from headrace.portfolio import Pool

MOMENT = 0


def settings(**tables: object) -> Settings:
    return parse_settings(tables, "here")


def asked(**more: object) -> PoolSettings:
    common: dict[str, object] = {"name": "p", "endpoints": ["http://10.0.0.1:8000/v1"], "models": {"m": "m"}}
    return settings(pool=[common | more]).pool[0]


def made(asked: PoolSettings, **tables: object) -> Pool:
    held = settings(**tables)
    return pool_of(asked, held.silicon, price_book(held), MOMENT)


def refused(asked: PoolSettings) -> str:
    with pytest.raises(SettingsInvalid) as wrong:
        region_of(asked)
    return str(wrong.value)


# Where.


PLACES = [
    # cloud, region, country that is stated, what holds there, what doesn't
    ("oci", "eu-frankfurt-2", None, {"de", "eu", "eea", "eea-ch", "eu-sovereign"}, {"us", "fr"}),
    ("oci", "eu-frankfurt-1", None, {"de", "eu"}, {"eu-sovereign"}),
    ("aws", "eusc-de-east-1", None, {"de", "eu", "eu-sovereign"}, {"us"}),
    ("aws", "eu-central-1", None, {"de", "eu"}, {"eu-sovereign"}),
    ("aws", "eu-central-2", None, {"ch", "eea-ch"}, {"eu", "eea"}),
    ("aws", "us-gov-west-1", None, {"us", "us-gov"}, {"eu"}),
    ("aws", "us", None, {"us"}, {"us-gov"}),
    ("aws", "global", None, set(), {"us", "eu"}),
    ("azure", "westeurope", None, {"nl", "eu"}, {"us"}),
    ("azure", "datazone-eu", None, {"eu"}, {"de", "nl"}),
    ("azure", "global", None, set(), {"us", "eu"}),
    ("azure", "usgovvirginia", None, {"us", "us-gov"}, set()),
    ("gcp", "europe-west3", None, {"de", "eu"}, {"us"}),
    ("gcp", "global", None, set(), {"us", "eu"}),
    ("anthropic", "global", None, set(), {"us", "eu"}),
    ("cerebras", "global", None, set(), {"us", "eu"}),
    ("openai", "global", None, set(), {"us", "eu"}),
    ("on-premises", "local", "DE", {"de", "eu"}, {"eu-sovereign"}),
    ("on-premises", "cellar", "GB", {"gb", "uk"}, {"eu"}),
    ("on-premises", "local", None, set(), {"de", "eu"}),
]


@pytest.mark.parametrize(
    ("cloud", "region", "country", "holds", "lacks"), PLACES, ids=[f"{row[0]} {row[1]} {row[2] or ''}" for row in PLACES]
)
def test_jurisdictions_follow_from_the_region(cloud: str, region: str, country: str | None, holds: set[str], lacks: set[str]):
    stated = {} if country is None else {"country": country}
    pool = made(asked(cloud=cloud, region=region, **stated))
    assert holds <= pool.jurisdictions
    assert not lacks & pool.jurisdictions
    assert (pool.cloud, pool.region, pool.vendor) == (cloud, region, cloud)
    if not holds:
        assert pool.jurisdictions == frozenset(), "where nothing is promised, nothing holds"


@pytest.mark.parametrize("place", sorted(shipped_catalog().regions))
def test_every_region_that_is_known_can_be_named(place: tuple[str, str]):
    cloud, region = place
    known = shipped_catalog().region(cloud, region)
    assert known is not None
    at = f"https://{known.host}/v1" if known.host else "http://10.0.0.1/v1"
    assert region_of(asked(cloud=cloud, region=region, endpoints=[at])).jurisdictions == known.jurisdictions


def test_whose_a_pool_is_may_differ_from_where_it_is():
    assert made(asked(cloud="azure", region="swedencentral", vendor="mistral")).vendor == "mistral"


UNKNOWN = [
    ({"cloud": "oci", "region": "eu-frankfurt"}, "oci has no region 'eu-frankfurt' (did you mean eu-frankfurt-1 or eu-frankfurt-2"),
    ({"cloud": "oci", "region": "local"}, "oci has no region 'local'"),
    ({"cloud": "orcl"}, "cloud 'orcl' is not known"),
    ({"cloud": "azzure"}, "did you mean azure"),
    ({"country": "Germany"}, "'Germany' is no country code"),
    ({"country": "de"}, "'de' is no country code"),
]


@pytest.mark.parametrize(("more", "words"), UNKNOWN, ids=[str(row[0]) for row in UNKNOWN])
def test_a_place_that_is_not_known_is_refused(more: dict[str, object], words: str):
    assert words in refused(asked(**more))


def test_a_country_is_stated_only_where_no_list_knows_it():
    with pytest.raises(SettingsInvalid, match="its country follows from its cloud and region"):
        asked(cloud="oci", region="eu-frankfurt-1", country="FR")


def test_silicon_that_is_not_known_is_refused_unless_it_is_ones_own():
    with pytest.raises(
        SettingsInvalid, match=r"silicon 'nvidia-h1000' is not known \(did you mean nvidia-h100.*add your own as \[\[silicon\]\]"
    ):
        made(asked(silicon="nvidia-h1000"))
    assert made(asked(silicon="nvidia-h1000"), silicon=[{"name": "nvidia-h1000"}]).silicon == "nvidia-h1000"


# Whose endpoints they are.


def at(endpoint: str | None, **more: object) -> PoolSettings:
    return asked(endpoints=[] if endpoint is None else [endpoint], **more)


VERTEX = {"project": "p", "service_account_file": "key.json"}

GOOD_HOSTS: list[tuple[str | None, dict[str, object]]] = [
    ("https://eu.api.openai.com/v1", {"cloud": "openai", "region": "eu"}),
    ("https://api.openai.com/v1", {"cloud": "openai", "region": "global"}),
    ("https://llm.acme.example/v1", {"cloud": "oci", "region": "eu-frankfurt-2"}),
    ("http://10.0.0.1:8000/v1", {"cloud": "aws", "region": "eu-central-1"}),
    ("unix:/run/vllm.sock:/v1", {"country": "DE"}),
    ("https://acme.openai.azure.com", {"cloud": "azure", "region": "swedencentral", "dialect": "azure"}),
    ("https://acme.cognitiveservices.azure.com", {"cloud": "azure", "region": "datazone-eu", "dialect": "azure"}),
    ("https://acme.openai.azure.us", {"cloud": "azure", "region": "usgovvirginia", "dialect": "azure"}),
    ("https://bedrock-runtime.eu-central-1.amazonaws.com", {"cloud": "aws", "region": "eu-central-1", "dialect": "bedrock"}),
    (None, {"cloud": "aws", "region": "eu-central-1", "dialect": "bedrock"}),
    ("https://bedrock-runtime.us-east-1.amazonaws.com", {"cloud": "aws", "region": "us", "dialect": "bedrock", "models": {"m": "us.x"}}),
    ("https://bedrock-runtime.eu-central-1.amazonaws.com", {"cloud": "aws", "region": "global", "dialect": "bedrock"}),
    ("https://europe-west3-aiplatform.googleapis.com", {"cloud": "gcp", "region": "europe-west3", "dialect": "gemini"}),
    ("https://aiplatform.eu.rep.googleapis.com", {"cloud": "gcp", "region": "eu", "dialect": "gemini"}),
    (None, {"cloud": "gcp", "region": "europe-west3", "dialect": "gemini", "vertex": VERTEX | {"location": "europe-west3"}}),
    (None, {"cloud": "gcp", "region": "global", "dialect": "gemini"}),
    (None, {"cloud": "anthropic", "region": "global", "dialect": "anthropic"}),
    ("https://inference.generativeai.eu-frankfurt-1.oci.oraclecloud.com/v1", {"cloud": "oci", "region": "eu-frankfurt-1"}),
]


@pytest.mark.parametrize(("endpoint", "more"), GOOD_HOSTS, ids=[f"{row[0]} {row[1]}" for row in GOOD_HOSTS])
def test_an_endpoint_that_agrees_with_its_place(endpoint: str | None, more: dict[str, object]):
    assert region_of(at(endpoint, **more)).cloud == more.get("cloud", "on-premises")


BAD_HOSTS: list[tuple[str | None, dict[str, object], str]] = [
    # What is somebody else's.
    ("https://api.openai.com/v1", {"country": "DE"}, "api.openai.com belongs to openai, and the pool says that it is at on-premises"),
    ("https://API.OpenAI.com/v1", {"country": "DE"}, "belongs to openai"),
    ("https://api.openai.com./v1", {"country": "DE"}, "belongs to openai"),
    ("https://acme.openai.azure.com", {"cloud": "oci", "region": "eu-frankfurt-2"}, "belongs to azure"),
    ("https://api.anthropic.com", {"country": "DE", "dialect": "anthropic"}, "belongs to anthropic"),
    ("https://bedrock-runtime.us-east-1.amazonaws.com", {"country": "DE", "dialect": "bedrock"}, "belongs to aws"),
    # What is in another region.
    (
        "https://bedrock-runtime.us-east-1.amazonaws.com",
        {"cloud": "aws", "region": "eu-central-1", "dialect": "bedrock"},
        "is in region us-east-1, and the pool says eu-central-1",
    ),
    (
        "https://us-central1-aiplatform.googleapis.com",
        {"cloud": "gcp", "region": "europe-west3", "dialect": "gemini"},
        "is in region us-central1",
    ),
    (
        "https://inference.generativeai.us-chicago-1.oci.oraclecloud.com/v1",
        {"cloud": "oci", "region": "eu-frankfurt-1"},
        "is in region us-chicago-1",
    ),
    ("https://bedrock-runtime.ap-south-1.amazonaws.com", {"cloud": "aws", "region": "us", "dialect": "bedrock"}, "ap-south-1"),
    # What promises its place at one host only.
    (
        "https://api.openai.com/v1",
        {"cloud": "openai", "region": "eu"},
        "openai promises its region eu for endpoints at eu.api.openai.com only",
    ),
    ("https://us.api.openai.com/v1", {"cloud": "openai", "region": "eu"}, "for endpoints at eu.api.openai.com only"),
    ("https://llm.acme.example/v1", {"cloud": "openai", "region": "us"}, "for endpoints at us.api.openai.com only"),
    # What is asked where the settings name no endpoint.
    (None, {"country": "DE", "dialect": "anthropic"}, "belongs to anthropic"),
    (None, {"country": "DE", "dialect": "gemini"}, "belongs to gcp"),
    (None, {"cloud": "gcp", "region": "europe-west3", "dialect": "gemini", "vertex": VERTEX | {"location": "us-central1"}}, "us-central1"),
    (None, {"cloud": "gcp", "region": "europe-west3", "dialect": "gemini", "vertex": VERTEX | {"location": "global"}}, "europe-west3"),
    # A host that answers from anywhere.
    (None, {"cloud": "gcp", "region": "europe-west3", "dialect": "gemini"}, "europe-west3"),
    ("https://aiplatform.googleapis.com", {"cloud": "gcp", "region": "europe-west3", "dialect": "gemini"}, "europe-west3"),
    # Another realm of the same cloud.
    ("https://acme.openai.azure.com", {"cloud": "azure", "region": "usgovvirginia", "dialect": "azure"}, "usgovvirginia"),
    ("https://acme.openai.azure.cn", {"cloud": "azure", "region": "swedencentral", "dialect": "azure"}, "swedencentral"),
]


@pytest.mark.parametrize(("endpoint", "more", "words"), BAD_HOSTS, ids=[f"{row[0]} {row[1]}" for row in BAD_HOSTS])
def test_an_endpoint_that_contradicts_its_place_is_refused(endpoint: str | None, more: dict[str, object], words: str):
    assert words in refused(at(endpoint, **more))


def test_one_endpoint_of_several_that_is_elsewhere():
    both = asked(
        cloud="aws",
        region="eu-central-1",
        dialect="bedrock",
        endpoints=["https://bedrock-runtime.eu-central-1.amazonaws.com", "https://bedrock-runtime.us-east-1.amazonaws.com"],
    )
    assert "is in region us-east-1" in refused(both)


# Bedrock's inference profiles compute in several regions.


def bedrock(region: str, its: str) -> PoolSettings:
    endpoints = ["https://bedrock-runtime.us-east-1.amazonaws.com"] if region in ("us", "global") else []
    return asked(dialect="bedrock", cloud="aws", region=region, models={"m": its}, endpoints=endpoints)


CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:eu-central-1:123456789012"
PROFILES = [
    # region of the pool, model; what it is told to say, None: taken
    ("eu-central-1", CLAUDE, None),
    ("eu-central-1", f"{ARN}:foundation-model/{CLAUDE}", None),
    ("eu-central-1", f"eu.{CLAUDE}", "global"),
    ("eu-central-1", f"global.{CLAUDE}", "global"),
    ("eu-central-1", f"{ARN}:inference-profile/eu.{CLAUDE}", "global"),
    ("eu-central-1", f"{ARN}:application-inference-profile/abc123", "global"),
    ("ap-northeast-1", f"apac.{CLAUDE}", "global"),
    ("ap-northeast-1", f"jp.{CLAUDE}", "global"),
    ("us-east-1", f"us.{CLAUDE}", "us"),
    ("us-east-1", CLAUDE, None),
    ("us", f"us.{CLAUDE}", None),
    ("us", f"global.{CLAUDE}", "global"),
    ("us", f"eu.{CLAUDE}", "global"),
    ("global", f"eu.{CLAUDE}", None),
    ("global", f"global.{CLAUDE}", None),
    ("global", f"{ARN}:application-inference-profile/abc123", None),
]


@pytest.mark.parametrize(("region", "its", "say"), PROFILES, ids=[f"{row[0]} {row[1]}" for row in PROFILES])
def test_inference_profiles(region: str, its: str, say: str | None):
    if say is None:
        assert region_of(bedrock(region, its)).name == region
    else:
        told = refused(bedrock(region, its))
        assert "is an inference profile, which may compute outside of" in told
        assert f'say region = "{say}"' in told


# What a token costs there.


def contract(kind: str, usd: str | None = None, accelerators: int = 8) -> dict[str, object]:
    return {"kind": kind, "accelerators": accelerators, **({} if usd is None else {"usd_per_accelerator_hour": usd})}


def cost(asked: PoolSettings, **tables: object) -> tuple[float, float, float]:
    held = made(asked, **tables).costs["m"]
    return held.input_pico, held.cached_input_pico, held.output_pico


def test_tokens_that_are_bought_cost_their_price():
    said: Mapping[str, Any] = {"usd_per_mtok": {"input": "2.50", "cached_input": "0.25", "output": "10"}}
    booked = {"model": [{"name": "m", "usd_per_mtok": {"input": "0.20", "output": "1.25"}}]}
    assert cost(asked(**said)) == (2_500_000, 250_000, 10_000_000)
    assert cost(asked(), **booked) == (200_000, 200_000, 1_250_000), "without a price of its own for what is cached, the input's"
    assert cost(asked(**said), **booked) == (2_500_000, 250_000, 10_000_000), "what the pool says comes before the book"
    assert cost(asked(contract={"kind": "tokens"}), **booked) == (200_000, 200_000, 1_250_000)
    assert not made(asked(**said)).owned


def test_the_book_is_asked_for_the_vendors_name_first():
    booked = {
        "model": [
            {"name": "m", "usd_per_mtok": {"input": "1", "output": "1"}},
            {"name": "its", "usd_per_mtok": {"input": "7", "output": "7"}},
        ]
    }
    assert cost(asked(models={"m": "its"}), **booked)[0] == 7_000_000


def test_what_is_not_known_is_dear():
    assert made(asked()).costs["m"] is UNKNOWN_COST
    rented = asked(contract=contract("owned", "1"), silicon="cpu")
    assert made(rented).costs["m"] is UNKNOWN_COST
    assert made(rented).owned


@given(
    cents=st.integers(min_value=1, max_value=100_000),
    tokens_per_s=st.floats(min_value=0.1, max_value=1e6),
    kind=st.sampled_from(["reserved", "on_demand", "spot", "owned"]),
    accelerators=st.integers(min_value=1, max_value=1_000),
)
def test_at_full_use_the_tokens_of_an_hour_pay_for_the_hour(cents: int, tokens_per_s: float, kind: str, accelerators: int):
    usd = f"{cents / 100:.2f}"
    pool = made(asked(contract=contract(kind, usd, accelerators), tokens_per_s=tokens_per_s, silicon="nvidia-h100"))
    found = pool.costs["m"]
    tokens_in, tokens_out = SHAPE
    answers = tokens_per_s * 3_600
    earned = answers * found.output_pico + answers * tokens_in / tokens_out * found.input_pico
    assert earned == pytest.approx(cents * 10**10, rel=1e-9)
    assert found.output_pico == pytest.approx(OUTPUT_WEIGHT * found.input_pico)
    assert found.cached_input_pico < found.input_pico
    assert pool.owned


def test_without_an_own_speed_the_catalogs_point_is_taken():
    slow, fast = (
        cost(asked(models={"m": "llama-3.1-70b"}, silicon=silicon, contract=contract("owned", "2")))
        for silicon in ("nvidia-h100", "nvidia-b200")
    )
    assert fast < slow
    said = cost(asked(models={"m": "llama-3.1-70b"}, silicon="nvidia-h100", contract=contract("owned", "2"), tokens_per_s=1e6))
    assert said < fast, "what the pool says comes before any point"


def test_silicon_of_ones_own_says_how_fast_it_is():
    rented = asked(silicon="own-chip", contract=contract("owned", "3.60"))
    (input_pico, _, output_pico) = cost(rented, silicon=[{"name": "own-chip", "tokens_per_s": 9_216}])
    tokens_in, tokens_out = SHAPE  # 9,216 tokens a second are 1,024 of answers and 8,192 of prompts
    assert tokens_out * output_pico + tokens_in * input_pico == pytest.approx(1e9)


def test_without_an_own_price_the_list_price_holds():
    listed = shipped_catalog().list_price("oci", "eu-frankfurt-1", "nvidia-h100", "on_demand")
    assert listed is not None
    place = {"cloud": "oci", "region": "eu-frankfurt-1", "silicon": "nvidia-h100", "tokens_per_s": 100}
    own = cost(asked(**place, contract=contract("on_demand", "1")))
    assert cost(asked(**place, contract=contract("on_demand")))[0] == pytest.approx(own[0] * listed.pico_per_accelerator_hour_max / 1e12)
    with pytest.raises(SettingsInvalid, match="no list price of cpu at oci is known; say usd_per_accelerator_hour in its contract"):
        made(asked(**place | {"silicon": "cpu"}, contract=contract("on_demand")))


def test_each_model_of_a_pool_has_its_own_cost():
    pool = made(
        asked(models={"small": "llama-3.1-8b", "large": "llama-3.1-405b"}, silicon="nvidia-h100", contract=contract("reserved", "2")),
    )
    assert pool.costs["small"].output_pico < pool.costs["large"].output_pico


def test_what_a_pool_says_of_itself_is_passed_on():
    pool = made(
        asked(concurrency_max=3, waiting_max=5, weight=2.5, ttft_ms=7.0, capabilities=["tools"], zero_retention=True, data_class="internal")
    )
    assert (pool.concurrency_max, pool.waiting_max, pool.weight, pool.ttft_ms) == (3, 5, 2.5, 7.0)
    assert (pool.capabilities, pool.zero_retention, pool.data_class) == (frozenset({"tools"}), True, "internal")
    assert made(asked()).capabilities is None
