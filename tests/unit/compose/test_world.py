"""From settings to a world: prices with their history, pools and profiles, keys and their secrets."""

import asyncio
from datetime import date

import msgspec
import pytest

from headrace.compose.adapters import Adapters
from headrace.compose.clock import MachineClock, Names
from headrace.compose.prices import price_book
from headrace.compose.settings import LimitSettings, Settings, parse_settings
from headrace.compose.world import LimitedKeys, fixed_keys, version_of, what_exists
from headrace.core.clock import SECOND
from headrace.core.errors import SettingsInvalid
from headrace.core.identity import Principal
from headrace.metering import digest, moment_of
from headrace.providers import Interpreter, Provider
from headrace.testing.builders import a_principal

REMOTE = {"name": "fra", "endpoints": ["http://10.0.0.1:8000/v1"], "models": {"m": "its"}, "cloud": "oci", "region": "eu-frankfurt-2"}


def settings(**tables: object) -> Settings:
    return parse_settings(tables, "here")


def test_a_models_rows_are_its_prices_history():
    book = price_book(
        settings(
            model=[
                {"name": "m", "usd_per_mtok": {"input": "3"}, "valid_from": date(2026, 3, 1)},
                {"name": "m", "usd_per_mtok": {"input": "1"}},
                {"name": "m", "usd_per_mtok": {"input": "2"}, "valid_from": date(2026, 2, 1)},
                {"name": "unpriced"},
            ]
        )
    )

    def on(day: date) -> int | None:
        price = book.price_on("m", moment_of(day))
        return price.input_pico if price else None

    assert [on(date(2025, 1, 1)), on(date(2026, 2, 1)), on(date(2026, 2, 28)), on(date(2026, 3, 1))] == [
        10**6,
        2 * 10**6,
        2 * 10**6,
        3 * 10**6,
    ]
    assert book.price_on("unpriced", moment_of(date(2026, 1, 1))) is None


def test_an_own_price_is_above_the_shipped_one():
    shipped = price_book(settings())
    model = shipped.rows[0].model
    own = price_book(settings(model=[{"name": model, "usd_per_mtok": {"input": "77"}}]))
    assert [row.input_pico for row in own.rows if row.model == model] == [77 * 10**6]
    assert len({row.model for row in own.rows}) == len({row.model for row in shipped.rows})


def test_what_exists():
    chosen = settings(
        pool=[REMOTE, {"name": "b", "endpoints": ["http://b"], "models": {"m": "m", "e": "e"}}],
        model=[{"name": "e", "operations": ["embeddings"], "tokens_out_max": 5, "tokens_context_max": 512}],
    )
    held = what_exists(chosen, [], price_book(chosen), 7 * SECOND)
    assert [pool.name for pool in held.pools_of["m"]] == ["fra", "b"]
    assert (held.models["m"].operations, held.models["m"].created, held.models["m"].tokens_out_max) == (frozenset({"chat"}), 7, 16_384)
    embedding = held.models["e"]
    assert (embedding.operations, embedding.tokens_out_max, embedding.tokens_context_max) == (frozenset({"embeddings"}), 5, 512)
    assert (held.pools["fra"].cloud, held.pools["fra"].models) == ("oci", {"m": "its"})
    assert held.version == version_of(chosen) != version_of(settings(pool=[REMOTE]))


def test_two_pools_of_one_name():
    with pytest.raises(SettingsInvalid, match="two pools are named 'fra'"):
        what_exists(settings(pool=[REMOTE, REMOTE]), [], price_book(settings()), 0)


async def test_who_answers_for_a_pool():
    def providers(chosen: Settings, environ: dict[str, str]) -> dict[str, Provider]:
        clock = MachineClock()
        return Adapters(environ, clock, Names(clock), asyncio.get_running_loop()).providers(chosen, [])

    assert set(providers(settings(pool=[REMOTE]), {})) == {"fra"}
    keyed = settings(pool=[REMOTE | {"api_key_env": "FRA_KEY"}])
    assert set(providers(keyed, {"FRA_KEY": "secret"})) == {"fra"}
    for environ in ({}, {"FRA_KEY": ""}):
        with pytest.raises(SettingsInvalid, match="pool 'fra' takes its secret from the environment variable FRA_KEY, which is not set"):
            providers(keyed, environ)
    with pytest.raises(SettingsInvalid, match=r"pool 'fra': '10\.0\.0\.1' is not an endpoint"):
        providers(settings(pool=[REMOTE | {"endpoints": ["10.0.0.1"]}]), {})


DIALECTS = [
    ({"dialect": "azure", "endpoints": ["https://a.openai.azure.com"], "api_key_env": "K"}, "AzureProvider"),
    ({"dialect": "anthropic", "api_key_env": "K"}, "AnthropicProvider"),
    ({"dialect": "bedrock", "cloud": "aws", "region": "eu-central-1", "api_key_env": "K"}, "BedrockProvider"),
    ({"dialect": "bedrock", "cloud": "aws", "region": "eu-central-1", "aws": {"access_key_id_env": "K", "secret_access_key_env": "K"}},
     "BedrockProvider"),
    ({"dialect": "gemini", "api_key_env": "K"}, "GeminiProvider"),
    ({"endpoints": ["http://a", "http://b"]}, "Spread"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "kind"), DIALECTS)
async def test_each_dialect_has_its_adapter(said, kind):
    clock = MachineClock()
    adapters = Adapters({"K": "secret"}, clock, Names(clock), asyncio.get_running_loop())
    found = adapters.providers(settings(pool=[{"name": "a", "models": {"m": "m"}} | said]), [])
    adapter = found["a"]
    assert isinstance(adapter, Interpreter)
    assert type(adapter.provider).__name__ == kind
    adapters.close()


async def test_a_provider_is_kept_as_long_as_its_settings_are():
    clock = MachineClock()
    environ = {"K": "one"}
    adapters = Adapters(environ, clock, Names(clock), asyncio.get_running_loop())
    chosen = settings(pool=[REMOTE | {"api_key_env": "K"}])
    first = adapters.providers(chosen, [])["fra"]
    assert adapters.providers(settings(pool=[REMOTE | {"api_key_env": "K"}]), [])["fra"] is first
    environ["K"] = "two"
    second = adapters.providers(chosen, [])["fra"]
    assert second is not first
    assert adapters.providers(settings(pool=[REMOTE | {"api_key_env": "K", "concurrency_max": 7}]), [])["fra"] is not second


KEY = {"name": "dev", "secret_env": "DEV", "organization": "acme", "project": "demo", "class": "enterprise", "tokens_per_minute": 9}


def test_fixed_keys():
    (row,) = fixed_keys(settings(key=[KEY]), {"DEV": "sk-hr-" + "s" * 40}, created=5)
    assert (row.id, row.name, row.created, row.digest) == ("settings:dev", "dev", 5, digest("sk-hr-" + "s" * 40))
    assert row.principal == a_principal(key="settings:dev", key_name="dev", traffic_class="enterprise", tokens_per_minute=9)
    assert "s" * 5 not in repr(row)


def test_a_fixed_key_without_its_secret():
    with pytest.raises(SettingsInvalid, match="key 'dev' takes its secret from the environment variable DEV, which is not set"):
        fixed_keys(settings(key=[KEY]), {}, created=0)


class OneKey:
    def __init__(self, secret: str, principal: Principal) -> None:
        self._held = {secret: principal}

    def version(self) -> int:
        return 7

    def find(self, secret: str) -> Principal | None:
        return self._held.get(secret)


LIMITED = [
    # the key's own limits, the settings' limits, what holds
    ((None, None), (60, 1_000), (60, 1_000)),
    ((5, None), (60, 1_000), (5, 1_000)),
    ((None, 7), (60, 1_000), (60, 7)),
    ((None, None), (0, 0), (None, None)),
    ((5, 7), (0, 0), (5, 7)),
]


@pytest.mark.parametrize(("own", "general", "holds"), LIMITED)
def test_limits_of_a_key_without_its_own(own, general, holds):
    principal = a_principal(requests_per_minute=own[0], tokens_per_minute=own[1])
    keys = LimitedKeys(OneKey("s", principal), lambda: 100)
    version = keys.version()
    keys.limit(LimitSettings(requests_per_minute=general[0], tokens_per_minute=general[1]))
    assert keys.version() != version, "what was found before holds no more"
    found = keys.find("s")
    assert found is not None
    assert (found.requests_per_minute, found.tokens_per_minute) == holds
    assert keys.find("s") is found
    assert keys.find("unknown") is None


def test_a_key_is_nobodys_after_its_time():
    principal = msgspec.structs.replace(a_principal(), expires=100)
    now = [99]
    keys = LimitedKeys(OneKey("s", principal), lambda: now[0])
    assert keys.find("s") is not None
    version = keys.version()
    now[0] = 100
    assert keys.version() != version, "what was found before holds no more"
    assert keys.version() == keys.version()
    assert keys.find("s") is None
