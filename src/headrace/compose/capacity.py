"""Pools from settings: where each is follows from the shipped portfolio, and so does what it costs where its contract doesn't say."""

import functools
import re
from collections.abc import Iterable
from importlib.resources import files
from urllib.parse import urlsplit

from headrace.compose.pools import PoolSettings
from headrace.core.clock import Moment
from headrace.core.errors import SettingsInvalid
from headrace.core.money import pico_per_token
from headrace.metering import PriceBook
from headrace.portfolio import (
    Catalog,
    Pool,
    Region,
    Rented,
    ServingPoint,
    Silicon,
    TokenCost,
    catalog,
    kind_of,
    owned_pico_per_token,
    pico_per_accelerator_hour,
)
from headrace.providers.google import vertex_url
from headrace.wire.bedrock import url_for

OUTPUT_WEIGHT = 5.0
"""A token of the answer takes about five times the work of one of the prompt: DeepSeek-R1 on B200 serves 5,855 and 1,245 a second of each
(measured points of aiconfigurator's silicon_sample, 8k/1k and 1k/1k solved for both)."""
SHAPE = (8_192, 1_024)
"""Of a request's tokens in and out, where a throughput is given without its shape."""
CACHED_SHARE = 0.1
"""What a cached token of the prompt costs of an uncached one."""
UNKNOWN_COST = TokenCost(10e6, 10e6, 30e6)
"""Where no price and no speed is known: dear ($10 and $30 a million), so that nobody is preferred for what we don't know."""
DATA = ("clouds", "regions", "silicon", "prices", "serving")

HOSTS: dict[str, tuple[str, ...]] = {
    "openai": ("api.openai.com",),
    "anthropic": ("api.anthropic.com",),
    "cerebras": ("api.cerebras.ai",),
    "azure": (".openai.azure.com", ".azure.com", ".azure.us", ".azure.cn", ".cognitiveservices.azure.com"),
    "aws": (".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".amazonaws.eu"),
    "gcp": (".googleapis.com",),
    "oci": (".oraclecloud.com", ".oraclegovcloud.com", ".oraclecloud.eu"),
    "coreweave": (".coreweave.com", ".cwobject.com", ".coreweave.app"),
    "nebius": (".nebius.com", ".nebius.cloud"),
}
"""By what end of a host's name we know whose it is: a pool that says it is elsewhere is refused, for its jurisdiction would be wrong."""
SPANNING = frozenset({"global", "us"})
"""The regions of AWS that are inference profiles across others."""
REGION_IN_HOST = frozenset({"aws", "gcp", "oci"})


@functools.cache
def shipped_catalog() -> Catalog:
    """Clouds, regions, silicon, list prices and serving points, as the package ships them."""
    folder = files("headrace.portfolio") / "data"
    return catalog(**{name: (folder / f"{name}.toml").read_text(encoding="utf-8") for name in DATA})


def pool_of(asked: PoolSettings, own: Iterable[Silicon], book: PriceBook, moment: Moment) -> Pool:
    """A pool as placement knows it. Raises SettingsInvalid for a cloud, region or silicon that does not exist, or a host elsewhere."""
    known = shipped_catalog().with_silicon(own)
    region = region_of(asked)
    if known.silicon(asked.silicon) is None:
        near = known.nearest("silicon", asked.silicon)
        raise SettingsInvalid(f"pool {asked.name!r}: silicon {asked.silicon!r} is not known{_meant(near)}; add your own as [[silicon]]")
    return Pool(
        name=asked.name,
        dialect=asked.dialect,
        models=asked.models,
        endpoints=asked.endpoints,
        concurrency_max=asked.concurrency_max,
        waiting_max=asked.waiting_max,
        drain_ms_max=asked.drain_ms_max,
        vendor=asked.vendor or asked.cloud,
        cloud=asked.cloud,
        region=asked.region,
        jurisdictions=region.jurisdictions,
        silicon=asked.silicon,
        data_class=asked.data_class,
        zero_retention=asked.zero_retention,
        capabilities=None if asked.capabilities is None else frozenset(asked.capabilities),
        tokens_context_max=asked.tokens_context_max,
        owned=isinstance(asked.contract, Rented),
        costs={ours: _cost(asked, ours, its, known, book, moment) for ours, its in asked.models.items()},
        weight=asked.weight,
        ttft_ms=asked.ttft_ms,
        tpot_ms=asked.tpot_ms,
        prefill_tokens_per_s=asked.prefill_tokens_per_s,
        paths=asked.paths,
    )


def region_of(asked: PoolSettings) -> Region:
    """Where a pool is. Raises SettingsInvalid for a place that does not exist, and for an endpoint that is known to be elsewhere."""
    known = shipped_catalog()
    if asked.cloud == "on-premises":
        try:
            region = known.on_premises(asked.country, asked.region)
        except ValueError as wrong:
            raise SettingsInvalid(f"pool {asked.name!r}: {wrong}") from None
    else:
        found = known.region(asked.cloud, asked.region)
        if found is None:
            raise SettingsInvalid(f"pool {asked.name!r}: {_unknown_place(asked, known)}")
        region = found
    if asked.dialect == "bedrock" and region.jurisdictions:
        _check_profiles(asked)
    for endpoint in endpoints_of(asked):
        _check_host(asked, region, (urlsplit(endpoint).hostname or "").lower().rstrip("."))
    if asked.vertex is not None and asked.vertex.location != asked.region:
        raise SettingsInvalid(f"pool {asked.name!r}: Vertex AI is asked at {asked.vertex.location}, and the pool says {asked.region}")
    return region


def endpoints_of(asked: PoolSettings) -> tuple[str, ...]:
    """Where a pool is asked: what the settings say, else where its vendor is found."""
    if asked.endpoints or asked.dialect == "local":
        return asked.endpoints
    match asked.dialect:
        case "anthropic":
            return ("https://api.anthropic.com",)
        case "bedrock" if asked.region not in SPANNING:
            return (url_for(asked.region),)
        case "gemini" if asked.vertex is not None:
            return (vertex_url(asked.vertex.location),)
        case "gemini":
            return ("https://generativelanguage.googleapis.com",)
        case _:
            raise SettingsInvalid(f"pool {asked.name!r} needs endpoints")


def _check_profiles(asked: PoolSettings) -> None:
    """An inference profile of Bedrock computes in several regions, whatever region is asked; only `us.` stays in one country."""
    for its in asked.models.values():
        profile = _PROFILE.match(its.rpartition("/")[2])
        if not profile and "inference-profile" not in its:
            continue
        if profile and asked.region == profile[1]:
            continue
        raise SettingsInvalid(
            f"pool {asked.name!r}: {its} is an inference profile, which may compute outside of {asked.region}: "
            f'say region = "{profile[1] if profile and profile[1] == "us" else "global"}", or name the model itself'
        )


_PROFILE = re.compile(r"(global|us|us-gov|eu|apac|jp|au|ca|sa|me|af|il|mx)\.")


def _check_host(asked: PoolSettings, region: Region, host: str) -> None:
    if region.host is not None and host != region.host:
        raise SettingsInvalid(f"pool {asked.name!r}: {asked.cloud} promises its region {asked.region} for endpoints at {region.host} only")
    whose = next((cloud for cloud, ends in HOSTS.items() if host.endswith(ends)), None)
    if whose is None:
        return
    if whose != asked.cloud:
        raise SettingsInvalid(f"pool {asked.name!r}: {host} belongs to {whose}, and the pool says that it is at {asked.cloud}")
    if whose == "azure" and _azure_partition(host) != _partition(region):
        raise SettingsInvalid(f"pool {asked.name!r}: {host} is of Azure's {_azure_partition(host)} cloud, and {asked.region} is not")
    if whose in REGION_IN_HOST:
        _check_region_in_host(asked, region, whose, host)


def _check_region_in_host(asked: PoolSettings, region: Region, cloud: str, host: str) -> None:
    """The host names the region; one that names none is asked all over the world, so that nothing holds there."""
    named = [one for (of, name), one in shipped_catalog().regions.items() if of == cloud and _is_part(name, host)]
    if any(one.name == asked.region for one in named) or region.host == host:
        return
    inside = bool(named) and all(region.jurisdictions <= one.jurisdictions for one in named)
    if (asked.region in SPANNING and inside) or not region.jurisdictions:  # an inference profile is asked at any region of its own
        return
    where = f"region {max((one.name for one in named), key=len)}" if named else "no region in particular"
    raise SettingsInvalid(f"pool {asked.name!r}: {host} is in {where}, and the pool says {asked.region}")


def _azure_partition(host: str) -> str:
    return {"us": "government", "cn": "China"}.get(host.rpartition(".")[2], "public")


def _partition(region: Region) -> str:
    return "government" if "us-gov" in region.jurisdictions else "China" if "cn" in region.jurisdictions else "public"


def _is_part(region: str, host: str) -> bool:
    """`bedrock-runtime.eu-central-1.amazonaws.com` and `us-east1-aiplatform.googleapis.com` name their region."""
    return f".{region}." in f".{host}." or host.startswith(f"{region}-")


def _cost(asked: PoolSettings, ours: str, its: str, known: Catalog, book: PriceBook, moment: Moment) -> TokenCost:
    """What a token of one model costs us there."""
    if isinstance(asked.contract, Rented):
        return _rented_cost(asked, asked.contract, its, known)
    if asked.usd_per_mtok is not None:
        input_pico = pico_per_token(asked.usd_per_mtok.input)
        cached, output = asked.usd_per_mtok.cached_input, asked.usd_per_mtok.output
        return TokenCost(
            input_pico, input_pico if cached is None else pico_per_token(cached), 0.0 if output is None else pico_per_token(output)
        )
    price = book.price_on(its, moment) or book.price_on(ours, moment)
    return UNKNOWN_COST if price is None else TokenCost(price.input_pico, price.cached_input_pico, price.output_pico or 0)


def _rented_cost(asked: PoolSettings, contract: Rented, its: str, known: Catalog) -> TokenCost:
    """A share of the accelerator-hour at full use, by how many tokens one serves: said by the pool, or by the nearest serving point."""
    row = known.list_price(asked.cloud, asked.region, asked.silicon, kind_of(contract))
    hour_pico = pico_per_accelerator_hour(contract, row)
    if hour_pico is None:
        raise SettingsInvalid(
            f"pool {asked.name!r}: no list price of {asked.silicon} at {asked.cloud} is known; say usd_per_accelerator_hour in its contract"
        )
    tokens_out_per_s, (tokens_in, tokens_out) = speed_of(asked, known.serving_point(asked.silicon, its))
    if tokens_out_per_s is None:
        return UNKNOWN_COST
    answer_pico = owned_pico_per_token(pico_per_accelerator_hour=hour_pico, tokens_per_s_per_accelerator=tokens_out_per_s)
    input_pico = answer_pico / (tokens_in / tokens_out + OUTPUT_WEIGHT)  # its own work and that of the prompt tokens that it carries
    return TokenCost(input_pico, input_pico * CACHED_SHARE, input_pico * OUTPUT_WEIGHT)


def speed_of(asked: PoolSettings, point: ServingPoint | None) -> tuple[float | None, tuple[int, int]]:
    """Tokens of answers a second an accelerator, and the shape of request at which; a point without a shape is taken to be all answer."""
    if asked.tokens_per_s is not None:
        return asked.tokens_per_s, SHAPE
    if point is None:
        return None, SHAPE
    if point.tokens_in is None or point.tokens_out is None:
        return point.output_tokens_per_s, (0, 1)
    return point.output_tokens_per_s, (point.tokens_in, point.tokens_out)


def _unknown_place(asked: PoolSettings, known: Catalog) -> str:
    if asked.cloud not in known.clouds:
        return f"cloud {asked.cloud!r} is not known{_meant(known.nearest('cloud', asked.cloud))}"
    return f"{asked.cloud} has no region {asked.region!r}{_meant(known.nearest('region', asked.region, cloud=asked.cloud))}"


def _meant(near: tuple[str, ...]) -> str:
    return f" (did you mean {' or '.join(near)}?)" if near else ""
