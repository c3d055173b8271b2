"""Where tokens can be made or bought: each silicon at each place with its terms, each vendor with its price, and who may serve what."""

from collections.abc import Mapping

import msgspec

from headrace.core.money import PICO_PER_USD
from headrace.planner.demand import Ask, Demand, Training
from headrace.planner.offers import Held, Limits, Offer, Supply, Term, TokenOffer, inside, offers_of
from headrace.planner.speed import Speed, SpeedOf
from headrace.portfolio import Catalog, Region
from headrace.portfolio.prices import HourlyKind
from headrace.portfolio.serving import plain_name
from headrace.routing import CLASSES

KW_DEFAULT = 1.4
"""What an accelerator draws with its share of host and cooling, where neither that nor its own power is known."""
KW_AROUND = 1.8
"""All-in power for an accelerator's own, where only that is known: the least and the most of those known are 1.5 and 2.5."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to buy at one place: silicon under some terms (`offers`, each with its price), or a vendor's tokens.

    `held[quarter]` accelerators are there already, and cost `held_usd_per_hour[quarter]`.
    """

    name: str
    cloud: str
    region: str
    silicon: str
    silicon_vendor: str
    kw: float = 0.0
    carbon_g_per_kwh: float = 0.0
    carbon_known: bool = False
    jurisdictions: frozenset[str] = frozenset()
    offers: tuple[Offer, ...] = ()
    tokens: TokenOffer | None = None
    held: tuple[float, ...] = ()
    held_usd_per_hour: tuple[float, ...] = ()

    def domain(self, outage: str) -> str:
        """What fails together with it."""
        return self.cloud if outage == "cloud" else f"{self.cloud}/{self.region}"


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """A planning question in numbers. `loads[place, demand]`: accelerators that are full with the demand's mean; `usd_per_s` of a vendor's
    tokens for it; who isn't in either may not or can't serve it. `trains[place, job]`: how fast the job runs there.

    `utilisation[place]`: how full it may be with what can't wait.
    """

    ask: Ask
    limits: Limits
    places: tuple[Place, ...]
    loads: Mapping[tuple[int, int], float]
    usd_per_s: Mapping[tuple[int, int], float]
    trains: Mapping[tuple[int, int], float]
    utilisation: tuple[float, ...]
    speeds: Mapping[tuple[int, int], Speed] = {}


def instance(ask: Ask, supply: Supply, catalog: Catalog, speed_of: SpeedOf) -> Instance:
    """The question that `ask` and `supply` pose. Raises ValueError for what the catalog doesn't know, or a demand that nobody may serve."""
    places = (*_sites(supply, catalog), *_vendors(supply, catalog))
    loads: dict[tuple[int, int], float] = {}
    usd_per_s: dict[tuple[int, int], float] = {}
    speeds: dict[tuple[int, int], Speed] = {}
    for at, place in enumerate(places):
        for number, demand in enumerate(ask.demands):
            if not _may(place, demand, catalog):
                continue
            if place.tokens is not None:
                if _sells(place.tokens, demand):
                    usd_per_s[at, number] = _usd_per_s(place.tokens, demand)
            elif (speed := speed_of(place.silicon, demand)) is not None:
                loads[at, number], speeds[at, number] = speed.full_with(demand, supply.limits.caution), speed
    trains = {
        (at, number): job.silicon[place.silicon]
        for at, place in enumerate(places)
        for number, job in enumerate(ask.training)
        if place.tokens is None and place.silicon in job.silicon and _may(place, job, catalog)
    }
    return Instance(
        ask=ask,
        limits=supply.limits,
        places=places,
        loads=loads,
        usd_per_s=usd_per_s,
        trains=trains,
        utilisation=(supply.limits.utilisation,) * len(places),
        speeds=speeds,
    )


def nobody_serves(question: Instance) -> tuple[str, ...]:
    """The demands for which there is no place at all, by name."""
    served = {number for _, number in (*question.loads, *question.usd_per_s)}
    return tuple(demand.title for number, demand in enumerate(question.ask.demands) if number not in served)


def _sites(supply: Supply, catalog: Catalog) -> tuple[Place, ...]:
    offers = {_key(each): each for market in supply.markets for each in offers_of(market, catalog)}
    offers |= {_key(each): each for each in supply.offers}
    grouped: dict[tuple[str, str, str], list[Offer]] = {}
    countries: dict[tuple[str, str, str], str | None] = {}
    for offer in offers.values():
        _region(offer.cloud, offer.region, offer.country, catalog)
        key = (offer.cloud, offer.region, offer.silicon)
        grouped.setdefault(key, []).append(_priced(offer, catalog))
        countries[key] = countries.get(key) or offer.country
    for held in supply.held:
        key = (held.cloud, held.region, held.silicon)
        grouped.setdefault(key, [])
        countries[key] = countries.get(key) or held.country
    return tuple(
        _site(
            key,
            tuple(found),
            [each for each in supply.held if (each.cloud, each.region, each.silicon) == key],
            countries[key],
            supply,
            catalog,
        )
        for key, found in grouped.items()
    )


def _key(offer: Offer) -> tuple[str, str, str, Term]:
    return offer.cloud, offer.region, offer.silicon, offer.term


def _priced(offer: Offer, catalog: Catalog) -> Offer:
    if offer.usd_per_accelerator_hour is not None:
        return offer
    kinds: Mapping[Term, HourlyKind] = {"owned": "owned", "reserved_3y": "reserved", "on_demand": "on_demand", "spot": "spot"}
    row = catalog.list_price(offer.cloud, offer.region, offer.silicon, kinds[offer.term]) if offer.term in kinds else None
    if row is None:
        raise ValueError(
            f"no price is known of {offer.silicon} at {offer.cloud} {offer.region}, {offer.term}: give the offer usd_per_accelerator_hour"
        )
    return msgspec.structs.replace(offer, usd_per_accelerator_hour=row.pico_per_accelerator_hour_max / PICO_PER_USD, grade=row.grade)


def _site(
    key: tuple[str, str, str], offers: tuple[Offer, ...], held: list[Held], country: str | None, supply: Supply, catalog: Catalog
) -> Place:
    cloud, region, name = key
    silicon, place = catalog.silicon(name), _region(cloud, region, country, catalog)
    if silicon is None:
        near = catalog.nearest("silicon", name)
        raise ValueError(f"silicon {name!r} is not known{f': did you mean {near[0]}?' if near else ''}")
    kw = silicon.all_in_kw or (silicon.power_w / 1_000 * KW_AROUND if silicon.power_w else KW_DEFAULT)
    quarters = range(supply.limits.quarters)
    return Place(
        name=f"{cloud}/{region}/{name}",
        cloud=cloud,
        region=region,
        silicon=name,
        silicon_vendor=silicon.vendor,
        kw=kw,
        carbon_g_per_kwh=supply.limits.carbon_g_per_kwh if place.carbon_g_per_kwh is None else place.carbon_g_per_kwh,
        carbon_known=place.carbon_g_per_kwh is not None,
        jurisdictions=place.jurisdictions,
        offers=offers,
        held=tuple(float(sum(each.accelerators for each in held if quarter < each.quarters_left)) for quarter in quarters),
        held_usd_per_hour=tuple(
            sum(each.accelerators * each.usd_per_accelerator_hour for each in held if quarter < each.quarters_left) for quarter in quarters
        ),
    )


def _vendors(supply: Supply, catalog: Catalog) -> tuple[Place, ...]:
    return tuple(
        Place(
            name=f"{offer.cloud}/{offer.region}/tokens of {offer.model}",
            cloud=offer.cloud,
            region=offer.region,
            silicon="tokens",
            silicon_vendor=f"{offer.cloud} (tokens)",
            jurisdictions=_region(offer.cloud, offer.region, None, catalog).jurisdictions if offer.region != "anywhere" else frozenset(),
            tokens=offer,
            held=(0.0,) * supply.limits.quarters,
            held_usd_per_hour=(0.0,) * supply.limits.quarters,
        )
        for offer in supply.tokens
    )


def _region(cloud: str, name: str, country: str | None, catalog: Catalog) -> Region:
    if cloud == "on-premises":
        return catalog.on_premises(country, name)
    place = catalog.region(cloud, name)
    if place is None:
        near = catalog.nearest("region", name, cloud=cloud) if catalog.cloud(cloud) else catalog.nearest("cloud", cloud)
        raise ValueError(f"no region {name!r} of {cloud} is known{f': did you mean {near[0]}?' if near else ''}")
    return place


def _may(place: Place, asked: Demand | Training, catalog: Catalog) -> bool:
    if asked.vendors is not None and place.cloud not in asked.vendors:
        return False
    return inside(place.jurisdictions, asked.jurisdictions, catalog.jurisdictions)


def _sells(offer: TokenOffer, demand: Demand) -> bool:
    terms = CLASSES[demand.traffic_class]
    return plain_name(offer.model) == plain_name(demand.model) and offer.ttft_ms <= terms.ttft_ms and offer.tpot_ms <= terms.tpot_ms


def _usd_per_s(offer: TokenOffer, demand: Demand) -> float:
    cached = offer.input if offer.cached_input is None else offer.cached_input
    found = demand.tokens_in_per_s - demand.tokens_uncached_per_s
    return (demand.tokens_uncached_per_s * offer.input + found * cached + demand.tokens_out_per_s * offer.output) / 1e6
