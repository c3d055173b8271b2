"""What is asked for: streams of tokens by class, geography and model, their course over the day and the quarters, and training."""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from headrace.core.identity import TrafficClass
from headrace.planner.day import CURVES, HOURS_PER_DAY, DayCurve
from headrace.portfolio.tables import read_tables, rows

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
DEFERRABLE: frozenset[TrafficClass] = frozenset({"batch", "training"})
UNSERVED_USD_PER_MTOK: Mapping[TrafficClass, float] = {
    "realtime": 100,
    "coding": 100,
    "enterprise": 100,
    "agentic": 50,
    "batch": 20,
    "training": 20,
}
"""What a million tokens that are turned away are held to be worth, where the demand doesn't say: far above any price in the lists, so
that a plan turns away only what nothing could serve."""


class Demand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One stream: the mean of the first quarter over all hours, in tokens a second of prompts and answers together.

    `tokens_in` and `tokens_out` are the shape of its requests, `cached_share` the share of prompts that is found in a cache.
    `growth_per_quarter` compounds. `curve` is its course over a day, by the local hour at `utc_offset_h`, or `hourly` is, as 24 multiples
    of the mean. `jurisdictions`: only where one of them holds; `vendors`: only there. `slices`: it can be divided into so many equal
    parts and no finer (1: all at one place); None: at will. `unserved_usd_per_mtok`: what turning it away costs; `outage_unserved_max`:
    how much of it may be when a place fails.
    """

    name: str = ""
    traffic_class: TrafficClass = msgspec.field(default="realtime", name="class")
    geography: str = "anywhere"
    model: str
    tokens_per_s: Amount
    tokens_in: Count = 8_192
    tokens_out: Count = 1_024
    cached_share: Share = 0.0
    growth_per_quarter: Annotated[float, msgspec.Meta(gt=-1)] = 0.0
    curve: DayCurve = "flat"
    utc_offset_h: int = 0
    hourly: tuple[Amount, ...] | None = None
    jurisdictions: tuple[str, ...] | None = None
    vendors: tuple[str, ...] | None = None
    deferrable: bool | None = None
    slices: Count | None = None
    unserved_usd_per_mtok: Amount | None = None
    outage_unserved_max: Share | None = None

    @property
    def title(self) -> str:
        return self.name or f"{self.traffic_class} {self.geography} {self.model}"

    @property
    def may_wait(self) -> bool:
        """Any hour of the quarter will do."""
        return self.traffic_class in DEFERRABLE if self.deferrable is None else self.deferrable

    @property
    def unserved_max(self) -> float:
        """What may go unserved while a place is out: nothing of what people wait for, all of what can wait."""
        if self.outage_unserved_max is not None:
            return self.outage_unserved_max
        return 1.0 if self.may_wait else 0.0

    @property
    def unserved_usd(self) -> float:
        """A million tokens."""
        own = self.unserved_usd_per_mtok
        return UNSERVED_USD_PER_MTOK[self.traffic_class] if own is None else own

    @property
    def tokens_uncached_per_s(self) -> float:
        """Of prompts, those that must be read anew."""
        return self.tokens_in_per_s * (1 - self.cached_share)

    @property
    def tokens_in_per_s(self) -> float:
        return self.tokens_per_s * self.tokens_in / (self.tokens_in + self.tokens_out)

    @property
    def tokens_out_per_s(self) -> float:
        return self.tokens_per_s - self.tokens_in_per_s

    def level(self, quarter: int, hour_utc: int) -> float:
        """How much of the first quarter's mean is asked for in that quarter at that hour."""
        course = CURVES[self.curve] if self.hourly is None else self.hourly
        return (1 + self.growth_per_quarter) ** quarter * course[(hour_utc + self.utc_offset_h) % HOURS_PER_DAY]

    def __post_init__(self) -> None:
        if self.hourly is not None and len(self.hourly) != HOURS_PER_DAY:
            raise ValueError(f"hourly of {self.title} has {len(self.hourly)} values: it has one for each of 24 hours, with a mean of 1")


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job that computes for long: `accelerator_hours` of the silicon at which `silicon` says 1.0, done by the end of quarter
    `deadline_quarter` (0 is the first).

    `silicon` maps what it can run on to how fast it is there. It runs in gangs of `gang` accelerators, at one place, and may pause: each
    day that it doesn't run through costs `pause_hours` to load its checkpoint again, and `checkpoint_share` of its time goes into
    writing them.
    """

    name: str
    accelerator_hours: Positive
    silicon: Mapping[str, Positive]
    gang: Count = 8
    gangs_max: Count = 64
    start_quarter: Annotated[int, msgspec.Meta(ge=0)] = 0
    deadline_quarter: Annotated[int, msgspec.Meta(ge=0)] = 0
    pause_hours: Amount = 0.25
    checkpoint_share: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.02
    jurisdictions: tuple[str, ...] | None = None
    vendors: tuple[str, ...] | None = None
    unserved_usd_per_accelerator_hour: Amount = 100.0

    def __post_init__(self) -> None:
        if not self.silicon:
            raise ValueError(f"training {self.name!r} names no silicon to run on")
        if self.start_quarter > self.deadline_quarter:
            raise ValueError(f"training {self.name!r} ends before it starts")


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way in which the world may turn out: demand and prices as multiples of what is expected, from `from_quarter` on.

    `demand` by class or name of a demand, `prices` by cloud; `*` stands for the others.
    """

    name: str
    probability: Positive
    demand: Mapping[str, Amount] = {}
    prices: Mapping[str, Amount] = {}
    from_quarter: Annotated[int, msgspec.Meta(ge=0)] = 0

    def demand_factor(self, demand: Demand, quarter: int) -> float:
        if quarter < self.from_quarter:
            return 1.0
        held = self.demand
        return held.get(demand.title, held.get(demand.traffic_class, held.get("*", 1.0)))

    def price_factor(self, cloud: str, quarter: int) -> float:
        return 1.0 if quarter < self.from_quarter else self.prices.get(cloud, self.prices.get("*", 1.0))


EXPECTED = Case(name="expected", probability=1.0)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """All that a plan is for."""

    demands: tuple[Demand, ...]
    training: tuple[Training, ...] = ()
    cases: tuple[Case, ...] = (EXPECTED,)

    def __post_init__(self) -> None:
        if not self.demands and not self.training:
            raise ValueError("there is no demand to plan for: give at least one [[demand]] or [[training]]")
        for what, names in (
            ("demands", [each.title for each in self.demands]),
            ("training jobs", [each.name for each in self.training]),
            ("cases", [each.name for each in self.cases]),
        ):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"two {what} are named {min(twice)!r}: give each a name of its own")

    @property
    def likely(self) -> tuple[Case, ...]:
        """The cases, with probabilities that add up to one."""
        total = sum(case.probability for case in self.cases)
        return tuple(msgspec.structs.replace(case, probability=case.probability / total) for case in self.cases)


def parse_demand(text: str) -> Ask:
    """The demand of a TOML text. Raises ValueError that says what is wrong, and in which row."""
    tables = read_tables(text, "demand", frozenset({"demand", "training", "case"}))
    return Ask(
        demands=rows(tables["demand"], "demand", Demand),
        training=rows(tables["training"], "training jobs", Training),
        cases=rows(tables["case"], "cases", Case) or (EXPECTED,),
    )
