"""Small planning questions, in numbers that a person can check."""

from typing import Any

from headrace.planner.demand import Ask, Case, Demand, Training
from headrace.planner.offers import Limits, Offer, Term, TokenOffer
from headrace.planner.sites import Instance, Place

HOUR = Limits(quarters=1, blocks=1, utilisation=1.0, utilisation_deferrable=1.0)


def a_demand(name: str = "chat", **fields: Any) -> Demand:
    given: dict[str, Any] = {"model": "m", "tokens_per_s": 1_000.0, "tokens_in": 1, "tokens_out": 1} | fields
    return Demand(name=name, **given)


def an_offer(place: str = "a/one", silicon: str = "x", term: Term = "on_demand", usd: float = 1.0, **fields: Any) -> Offer:
    cloud, region = place.split("/")
    given: dict[str, Any] = {"quantum": 1, "lead_quarters": 0} | fields
    return Offer(cloud=cloud, region=region, silicon=silicon, term=term, usd_per_accelerator_hour=usd, **given)


def a_place(*offers: Offer, quarters: int = 1, held: float = 0.0, held_usd: float = 0.0, kw: float = 1.0, carbon: float = 0.0) -> Place:
    first = offers[0]
    return Place(
        name=f"{first.cloud}/{first.region}/{first.silicon}",
        cloud=first.cloud,
        region=first.region,
        silicon=first.silicon,
        silicon_vendor=f"maker of {first.silicon}",
        kw=kw,
        carbon_g_per_kwh=carbon,
        offers=offers,
        held=(held,) * quarters,
        held_usd_per_hour=(held_usd * held,) * quarters,
    )


def a_vendor(offer: TokenOffer, quarters: int = 1) -> Place:
    return Place(
        name=f"{offer.cloud}/tokens",
        cloud=offer.cloud,
        region=offer.region,
        silicon="tokens",
        silicon_vendor=f"{offer.cloud} (tokens)",
        tokens=offer,
        held=(0.0,) * quarters,
        held_usd_per_hour=(0.0,) * quarters,
    )


def a_question(
    demands: tuple[Demand, ...],
    places: tuple[Place, ...],
    loads: dict[tuple[int, int], float],
    *,
    limits: Limits = HOUR,
    cases: tuple[Case, ...] = (Case(name="expected", probability=1),),
    training: tuple[Training, ...] = (),
    usd_per_s: dict[tuple[int, int], float] | None = None,
    trains: dict[tuple[int, int], float] | None = None,
) -> Instance:
    """`loads[place, demand]`: accelerators that are full with the demand's mean."""
    return Instance(
        ask=Ask(demands=demands, cases=cases, training=training),
        limits=limits,
        places=places,
        loads=loads,
        usd_per_s=usd_per_s or {},
        trains=trains or {},
        utilisation=(limits.utilisation,) * len(places),
    )
