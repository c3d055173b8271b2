"""A plan: what to buy and when, what to rent, who serves what, what it costs, and what fails with it. Read off a solution."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import ceil

import msgspec

from headrace.planner.draft import Draft
from headrace.planner.keys import Buy, Excess, Extra, Flow, Rent, Run, State, Unserved, Untrained
from headrace.planner.offers import Term
from headrace.planner.sites import Place
from headrace.planner.solver import Outcome, Solution

NOISE = 1e-6


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """Accelerators that are bound for a term from the beginning of `quarter` on; `usd` until the last quarter, `usd_after` beyond."""

    place: str
    cloud: str
    region: str
    silicon: str
    term: Term
    quarter: int
    quarters: int
    order_quarter: int
    accelerators: int
    quanta: int
    usd_per_accelerator_hour: float
    usd: float
    usd_after: float


class Rental(msgspec.Struct, frozen=True, kw_only=True):
    """Accelerators by the hour in a quarter, in the expected course: on average and at most, in whole quanta."""

    place: str
    cloud: str
    region: str
    silicon: str
    term: Term
    quarter: int
    accelerators_mean: float
    accelerators_max: int
    usd_per_accelerator_hour: float
    usd: float


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """The share of a demand's tokens in a quarter that a place serves, as expected."""

    demand: str
    place: str
    quarter: int
    share: float
    tokens_per_s: float
    accelerators_full: float


class Shortfall(msgspec.Struct, frozen=True, kw_only=True):
    """The share of a demand that goes unserved in a quarter: as expected, or where `outage` is gone, at the hour when most is asked."""

    demand: str
    quarter: int
    outage: str | None
    share: float
    allowed: float


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job has its home, and the share of it that is done in time."""

    job: str
    place: str | None
    share: float
    accelerators_mean: float
    pausing_share: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Money is expected, in US dollars over all quarters, and an estimate: it never goes into a bill.

    `usd_unserved` is no money but what the plan holds against what it turns away. `gap`: how much cheaper a plan could be at most.
    """

    outcome: Outcome
    gap: float
    quarters: int
    usd: float
    usd_held: float
    usd_unserved: float
    usd_after: float
    usd_rounding: float
    usd_by_case: Mapping[str, float]
    tokens: float
    purchases: tuple[Purchase, ...]
    rentals: tuple[Rental, ...]
    servings: tuple[Serving, ...]
    shortfalls: tuple[Shortfall, ...]
    trained: tuple[Trained, ...]
    spend: Mapping[str, Mapping[str, float]]
    kw_max: Mapping[str, float]
    carbon_t: float
    carbon_known_share: float

    @property
    def usd_per_mtok(self) -> float:
        """Of all tokens served, cached ones too."""
        return self.usd / self.tokens * 1e6 if self.tokens else 0.0

    def accelerators(self, quarter: int) -> dict[tuple[str, Term], float]:
        """Bound and rented in a quarter, by place and term; rented on average."""
        found: dict[tuple[str, Term], float] = defaultdict(float)
        for bought in self.purchases:
            if bought.quarter <= quarter < bought.quarter + bought.quarters:
                found[bought.place, bought.term] += bought.accelerators
        for rented in self.rentals:
            if rented.quarter == quarter:
                found[rented.place, rented.term] += rented.accelerators_mean
        return dict(found)


def read_plan(draft: Draft, solution: Solution) -> Plan:
    """The plan that a solution says."""
    reader = _Reader(draft, solution)
    usd_held = sum(usd * draft.hours_per_quarter for place in draft.question.places for usd in place.held_usd_per_hour)
    rentals = tuple(reader.rentals())
    purchases = tuple(reader.purchases())
    kw, carbon, known = reader.power()
    return Plan(
        outcome=solution.outcome,
        gap=max(0.0, (solution.cost - solution.bound) / solution.cost) if solution.cost else 0.0,
        quarters=draft.limits.quarters,
        usd=reader.money() + usd_held,
        usd_held=usd_held,
        usd_unserved=reader.unserved_usd(),
        usd_after=sum(bought.usd_after for bought in purchases),
        usd_rounding=reader.rounding(),
        usd_by_case=reader.by_case(usd_held),
        tokens=reader.tokens(),
        purchases=purchases,
        rentals=rentals,
        servings=tuple(reader.servings()),
        shortfalls=tuple(reader.shortfalls()),
        trained=tuple(reader.trained()),
        spend=reader.spend(),
        kw_max=kw,
        carbon_t=carbon,
        carbon_known_share=known,
    )


class _Reader:
    def __init__(self, draft: Draft, solution: Solution) -> None:
        self._draft, self._values = draft, solution.values
        self._places, self._columns = draft.question.places, draft.program.columns
        self._solution = solution
        self._hours = draft.hours_per_quarter

    def _value(self, column: int) -> float:
        value = self._values[column]
        return 0.0 if abs(value) < NOISE else value

    def purchases(self) -> Iterable[Purchase]:
        for key, column in self._columns.items():
            if not isinstance(key, Buy) or not (quanta := round(self._value(column), 6)):
                continue
            place = self._places[key.place]
            offer = place.offers[key.offer]
            usd = offer.usd_per_accelerator_hour or 0.0
            after = max(0, key.quarter + offer.length - self._draft.limits.quarters)
            yield Purchase(
                place=place.name,
                cloud=place.cloud,
                region=place.region,
                silicon=place.silicon,
                term=offer.term,
                quarter=key.quarter,
                quarters=offer.length,
                order_quarter=key.quarter - offer.lead,
                accelerators=round(quanta * offer.size),
                quanta=round(quanta),
                usd_per_accelerator_hour=usd,
                usd=self._draft.money[column] * quanta,
                usd_after=usd * offer.size * quanta * self._hours * after * offer.take_or_pay,
            )

    def rentals(self) -> Iterable[Rental]:
        found: dict[tuple[int, int, int], list[tuple[State, float, int]]] = defaultdict(list)
        for key, column in self._columns.items():
            if isinstance(key, Rent) and (quanta := self._value(column)):
                found[key.place, key.offer, key.state.quarter].append((key.state, quanta, column))
        for (at, number, quarter), held in found.items():
            place, offer = self._places[at], self._places[at].offers[number]
            mean = sum(quanta * self._weight(state) for state, quanta, _ in held) * offer.size
            yield Rental(
                place=place.name,
                cloud=place.cloud,
                region=place.region,
                silicon=place.silicon,
                term=offer.term,
                quarter=quarter,
                accelerators_mean=mean,
                accelerators_max=max(ceil(round(quanta, 6)) for _, quanta, _ in held) * offer.size,
                usd_per_accelerator_hour=offer.usd_per_accelerator_hour or 0.0,
                usd=sum(self._draft.money[column] * quanta for _, quanta, column in held),
            )

    def rounding(self) -> float:
        """What it takes to make rented accelerators whole quanta, where the solver was not asked for that."""
        found = ((column, self._value(column)) for key, column in self._columns.items() if isinstance(key, Rent))
        return sum(self._draft.money[column] * (ceil(round(value, 6)) - value) for column, value in found if value)

    def _weight(self, state: State) -> float:
        """The share of its quarter that a state is expected to be."""
        return self._draft.cases[state.case].probability * self._draft.hours(state) / self._hours

    def money(self) -> float:
        return sum(usd * self._value(column) for column, usd in self._draft.money.items())

    def by_case(self, usd_held: float) -> dict[str, float]:
        bound = sum(self._draft.money[column] * self._value(column) for key, column in self._columns.items() if isinstance(key, Buy))
        priced = set(self._draft.money)
        return {
            case.name: usd_held
            + bound
            + sum(cost * self._value(column) for column, cost in self._draft.recourse[number] if column in priced)
            for number, case in enumerate(self._draft.cases)
        }

    def unserved_usd(self) -> float:
        kinds = (Unserved, Excess, Untrained)
        return sum(
            self._draft.program.cost[column] * self._value(column) for key, column in self._columns.items() if isinstance(key, kinds)
        )

    def _served(self) -> Iterable[tuple[Flow, float]]:
        """Each flow in a course of the world that is expected, in multiples of the demand's mean."""
        for key, column in self._columns.items():
            if isinstance(key, Flow) and key.state.outage is None and (value := self._value(column)):
                asked = self._draft.ask.demands[key.demand]
                yield key, value * self._draft.unit(asked, key.state) * self._draft.mean_share(key.state, asked)

    def tokens(self) -> float:
        return sum(
            level * self._draft.ask.demands[key.demand].tokens_per_s * self._weight(key.state) * self._hours * 3_600
            for key, level in self._served()
        )

    def servings(self) -> Iterable[Serving]:
        found: dict[tuple[int, int, int], float] = defaultdict(float)
        asked: dict[tuple[int, int], float] = defaultdict(float)
        for key, level in self._served():
            found[key.demand, key.place, key.state.quarter] += level * self._weight(key.state)
        for state in self._draft.states:
            for number, demand in enumerate(self._draft.ask.demands):
                level = self._draft.level(state, demand) * self._draft.mean_share(state, demand)
                asked[number, state.quarter] += level * self._weight(state)
        for (number, at, quarter), level in sorted(found.items()):
            demand = self._draft.ask.demands[number]
            yield Serving(
                demand=demand.title,
                place=self._places[at].name,
                quarter=quarter,
                share=level / asked[number, quarter],
                tokens_per_s=level * demand.tokens_per_s,
                accelerators_full=level * self._draft.question.loads.get((at, number), 0.0),
            )

    def shortfalls(self) -> Iterable[Shortfall]:
        found: dict[tuple[str, int, str | None], float] = defaultdict(float)
        allowed: dict[str, float] = {}
        for key, column in self._columns.items():
            if isinstance(key, Unserved | Excess) and (value := self._value(column)):
                asked = self._draft.ask.demands[key.demand]
                level = self._draft.level(key.state, asked)
                weight = 1.0 if key.state.outage is not None else self._weight(key.state)
                found[asked.title, key.state.quarter, key.state.outage] += value / level * weight
                allowed[asked.title] = asked.unserved_max
        for (demand, quarter, outage), share in sorted(found.items(), key=lambda each: (each[0][0], each[0][1], each[0][2] or "")):
            if share > NOISE:
                yield Shortfall(
                    demand=demand, quarter=quarter, outage=outage, share=share, allowed=0.0 if outage is None else allowed[demand]
                )

    def trained(self) -> Iterable[Trained]:
        for number, job in enumerate(self._draft.ask.training):
            left = sum(self._value(self._columns[Untrained(number, case)]) * how.probability for case, how in enumerate(self._draft.cases))
            gangs = [
                (key, self._value(column))
                for key, column in self._columns.items()
                if isinstance(key, Run) and key.job == number and self._value(column)
            ]
            hours = sum(self._gang_hours(key) * value for key, value in gangs)
            paused = sum(self._gang_hours(key) * value for key, value in gangs if not key.through)
            window = self._hours * len(self._draft.quarters_of(number))
            yield Trained(
                job=job.name,
                place=self._places[gangs[0][0].place].name if gangs else None,
                share=1 - left,
                accelerators_mean=hours * job.gang / window if window else 0.0,
                pausing_share=paused / hours if hours else 0.0,
            )

    def _gang_hours(self, key: Run) -> float:
        hours = self._hours if key.through else self._draft.hours(key.state)
        return hours * self._draft.cases[key.state.case].probability

    def spend(self) -> dict[str, dict[str, float]]:
        """By cloud, silicon, its maker, region, term and quarter; what is held already in its own."""
        found: dict[str, dict[str, float]] = {what: defaultdict(float) for what in ("cloud", "silicon", "silicon vendor", "region", "term")}
        for key, column in self._columns.items():
            at, usd = self._draft.place_of(key), self._draft.money.get(column, 0.0)
            if at is not None and usd and (value := self._value(column)):
                term = self._places[at].offers[key.offer].term if isinstance(key, Buy | Rent | Extra) else "tokens"
                self._pay(found, self._places[at], term, usd * value)
        for place in self._places:
            if held := sum(place.held_usd_per_hour) * self._hours:
                self._pay(found, place, "held", held)
        return {what: dict(sorted(paid.items(), key=lambda each: -each[1])) for what, paid in found.items()}

    def _pay(self, found: dict[str, dict[str, float]], place: Place, term: str, usd: float) -> None:
        for what, of in (
            ("cloud", place.cloud),
            ("silicon", place.silicon),
            ("silicon vendor", place.silicon_vendor),
            ("region", f"{place.cloud}/{place.region}"),
            ("term", term),
        ):
            found[what][of] += usd

    def power(self) -> tuple[dict[str, float], float, float]:
        """The most kilowatts by region, tonnes of carbon, and the share of them where the grid is known."""
        most: dict[str, float] = defaultdict(float)
        carbon = known = 0.0
        for state in self._draft.states:
            here: dict[str, float] = defaultdict(float)
            for at, place in enumerate(self._places):
                count = place.held[state.quarter] + sum(self._value(c) * v for c, v in self._draft.held_terms(state, at))
                here[f"{place.cloud}/{place.region}"] += count * place.kw
                tonnes = count * place.kw * self._weight(state) * self._hours * place.carbon_g_per_kwh / 1e6
                carbon += tonnes
                known += tonnes if place.carbon_known else 0.0
            for region, kw in here.items():
                most[region] = max(most[region], kw)
        return {region: kw for region, kw in sorted(most.items()) if kw > NOISE}, carbon, known / carbon if carbon else 0.0
