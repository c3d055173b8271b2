"""Things that happen, by name, to any scenario: in the middle third of the run, to its largest pool or whatever is around it."""

from collections.abc import Callable, Mapping, Sequence

from headrace.portfolio import Pool
from headrace.simulator.faults import Demand, Fault, NewRule, Outage, PriceChange, Slow
from headrace.simulator.sites import Site

HANGS_S = 10.0


def replica(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """One replica of the largest pool dies, and comes back."""
    return [Outage(pool=pool.name, from_s=from_s, to_s=to_s, share=1 / max(1, replicas))]


def zone(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """A third of its region is gone."""
    return [Outage(cloud=pool.cloud, region=pool.region, from_s=from_s, to_s=to_s, share=1 / 3)]


def region(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """Its region is gone."""
    return [Outage(cloud=pool.cloud, region=pool.region, from_s=from_s, to_s=to_s)]


def vendor(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """All that its vendor runs is gone."""
    return [Outage(vendor=pool.vendor, from_s=from_s, to_s=to_s)]


def spot(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """Half of it is taken back in two steps, as spot capacity is."""
    third = (to_s - from_s) / 3
    return [
        Outage(pool=pool.name, from_s=from_s, to_s=to_s, share=0.25),
        Outage(pool=pool.name, from_s=from_s + third, to_s=to_s - third, share=0.5),
    ]


def price(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """Tokens of its vendor cost three times as much from now on."""
    return [PriceChange(vendor=pool.vendor, from_s=from_s, factor=3.0)]


def surge(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """Twice as many come."""
    return [Demand(from_s=from_s, to_s=to_s, factor=2.0)]


def slow(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """Its silicon takes three times as long."""
    return [Slow(silicon=pool.silicon, from_s=from_s, to_s=to_s, factor=3.0)]


def stale(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """It is gone, and who asks there learns it only after ten seconds."""
    return [Outage(pool=pool.name, from_s=from_s, to_s=to_s, fails_after_s=HANGS_S)]


def flood(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """One tenant asks three times what all ask otherwise."""
    return [Demand(from_s=from_s, to_s=to_s, factor=4.0, tenant=0)]


def rule(pool: Pool, replicas: int, from_s: float, to_s: float) -> list[Fault]:
    """From now on, what comes from Europe stays in Europe."""
    return [NewRule(from_s=from_s, geography="eu", jurisdictions=("eu",))]


EVENTS: Mapping[str, Callable[[Pool, int, float, float], list[Fault]]] = {
    "replica": replica,
    "zone": zone,
    "region": region,
    "vendor": vendor,
    "spot": spot,
    "price": price,
    "surge": surge,
    "slow": slow,
    "stale": stale,
    "flood": flood,
    "rule": rule,
}


def happening(names: Sequence[str], sites: Sequence[Site], duration_s: float) -> list[Fault]:
    """The faults of these events. Raises ValueError for a name that is not known."""
    largest = max(sites, key=lambda site: (site.pool.concurrency_max, site.pool.name))
    replicas = 1 if largest.block is None else largest.block.replicas
    found: list[Fault] = []
    for name in names:
        if name not in EVENTS:
            raise ValueError(f"no event {name!r} is known: there are {', '.join(EVENTS)}")
        found += EVENTS[name](largest.pool, replicas, duration_s / 3, 2 * duration_s / 3)
    return found
