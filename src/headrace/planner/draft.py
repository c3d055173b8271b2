"""A planning question while it is written down: its states, what each asks for, and where each column is found again."""

from collections.abc import Iterable, Iterator, Mapping
from math import ceil, inf

from headrace.planner.day import Block, blocks
from headrace.planner.demand import Case, Demand
from headrace.planner.keys import Buy, Extra, Flow, Home, Key, On, Rent, RowKey, Run, Spent, State, Used
from headrace.planner.program import Program
from headrace.planner.sites import Instance, Place

ROUNDING = 1e-6


class Draft:
    """A question while it is written down as a program. `money` are the columns' costs in the likely mean, without the price on what goes
    unserved; `recourse` what each case pays once it is known.
    """

    def __init__(self, question: Instance) -> None:
        self.question, self.ask, self.limits = question, question.ask, question.limits
        self.blocks: tuple[Block, ...] = blocks(self.limits.blocks)
        self.cases: tuple[Case, ...] = self.ask.likely
        self.risk = self.limits.risk_share if len(self.cases) > 1 else 0.0
        self.program: Program[Key, RowKey] = Program()
        self.money: dict[int, float] = {}
        self.recourse: list[list[tuple[int, float]]] = [[] for _ in self.cases]
        self.states = [
            State(quarter, case, block)
            for quarter in range(self.limits.quarters)
            for case in range(len(self.cases))
            for block in range(len(self.blocks))
        ]
        self.outages = list(self._outages())

    def level(self, state: State, demand: Demand) -> float:
        """What must be served of it in a state, in multiples of its mean: of what can't wait, at the block's peak."""
        block = self.blocks[state.block]
        factor = self.cases[state.case].demand_factor(demand, state.quarter)
        hourly = block.mean if demand.may_wait else block.peak
        return factor * hourly(lambda hour: demand.level(state.quarter, hour))

    def mean_share(self, state: State, demand: Demand) -> float:
        """How much of a block's peak is asked for on average over it: tokens that are paid for, and carbon."""
        if demand.may_wait:
            return 1.0
        block = self.blocks[state.block]
        peak = block.peak(lambda hour: demand.level(state.quarter, hour))
        return block.mean(lambda hour: demand.level(state.quarter, hour)) / peak if peak else 1.0

    def hours(self, state: State) -> float:
        return self.blocks[state.block].hours_per_quarter

    def _outages(self) -> Iterator[State]:
        """One state a quarter and place that may fail: in the block in which most of what could be served there is asked for."""
        if self.limits.outage == "none":
            return
        likely = max(range(len(self.cases)), key=lambda case: self.cases[case].probability)
        domains: dict[str, set[int]] = {}
        for (at, demand), _ in [*self.question.loads.items(), *self.question.usd_per_s.items()]:
            domains.setdefault(self.question.places[at].domain(self.limits.outage), set()).add(demand)
        for domain, served in domains.items():
            demands = [(number, self.ask.demands[number]) for number in sorted(served) if not self.ask.demands[number].may_wait]
            if not demands:
                continue
            weight = {number: demand.tokens_per_s for number, demand in demands}
            for quarter in range(self.limits.quarters):
                at = max(
                    range(len(self.blocks)),
                    key=lambda block: sum(weight[n] * self.level(State(quarter, likely, block), d) for n, d in demands),
                )
                yield State(quarter, likely, at, domain)

    def gone(self, state: State, place: Place) -> bool:
        return state.outage is not None and place.domain(self.limits.outage) == state.outage

    def spend(self, key: Key, cost: float, case: int, *, upper: float = inf, whole: bool = False) -> int:
        """A column whose cost is known only when the case is."""
        expected = cost * self.cases[case].probability * (1 - self.risk)
        column = self.program.column(key, expected, upper=upper, whole=whole)
        self.money[column] = cost * self.cases[case].probability
        self.recourse[case].append((column, cost))
        return column

    def unit(self, asked: Demand, state: State) -> float:
        """What one of a flow's columns stands for: the demand's mean, or a slice of what is asked for."""
        return 1.0 if asked.slices is None else self.level(state, asked) / asked.slices

    def flows(self, state: State, demand: int, places: Iterable[int]) -> list[tuple[int, float]]:
        unit = self.unit(self.ask.demands[demand], state)
        found = ((self.program.columns.get(Flow(state, at, demand)), unit) for at in places)
        return [(column, value) for column, value in found if column is not None]

    def active(self, at: int, number: int, quarter: int) -> list[int]:
        """The columns of what is bound under an offer in a quarter."""
        offer = self.question.places[at].offers[number]
        started = range(max(offer.lead, quarter - offer.length + 1), quarter + 1)
        return [self.program.columns[Buy(at, number, begun)] for begun in started]

    def there(self, state: State, at: int, *, firm: bool) -> tuple[list[tuple[int, float]], float]:
        """Accelerators that are at a place in a state, as terms and what is held already. `firm`: for what can't wait."""
        place, terms = self.question.places[at], list[tuple[int, float]]()
        base = State(state.quarter, state.case, state.block)
        for number, offer in enumerate(place.offers):
            if offer.committed and (offer.take_or_pay == 1 or state.outage is not None):
                terms += [(column, float(offer.size)) for column in self.active(at, number, state.quarter)]
            elif offer.committed:
                terms.append((self.program.columns[Used(at, number, base)], 1.0))
            else:
                counts = self.limits.spot_share_max if firm and offer.term == "spot" else 1.0
                terms.append((self.program.columns[Rent(at, number, base)], offer.size * offer.share_there * counts))
        return terms, place.held[state.quarter]

    def gangs(self, state: State, at: int) -> list[tuple[int, float]]:
        terms: list[tuple[int, float]] = []
        for job, asked in enumerate(self.ask.training):
            for key in (Run(job, at, state, False), Run(job, at, State(state.quarter, state.case, 0), True)):
                column = self.program.columns.get(key)
                if column is not None:
                    terms.append((column, float(asked.gang)))
        return terms

    def gangs_of(self, job: int, at: int, state: State) -> list[tuple[int, float]]:
        keys = (Run(job, at, state, False), Run(job, at, State(state.quarter, state.case, 0), True))
        found = [self.program.columns.get(key) for key in keys]
        return [(column, float(self.ask.training[job].gang)) for column in found if column is not None]

    def quarters_of(self, job: int) -> range:
        asked = self.ask.training[job]
        return range(asked.start_quarter, min(asked.deadline_quarter + 1, self.limits.quarters))

    def held_terms(self, state: State, at: int) -> list[tuple[int, float]]:
        """All accelerators that are paid for at a place in a state, there or not."""
        terms: list[tuple[int, float]] = []
        for number, offer in enumerate(self.question.places[at].offers):
            if offer.committed:
                terms += [(column, float(offer.size)) for column in self.active(at, number, state.quarter)]
            else:
                terms.append((self.program.columns[Rent(at, number, state)], float(offer.size)))
        return terms

    def at(self, keyed: Mapping[Key, float]) -> dict[int, float]:
        """The columns of keys, as far as there are such."""
        return {column: value for key, value in keyed.items() if (column := self.program.columns.get(key)) is not None}

    def place_of(self, key: Key) -> int | None:
        """The place that a column's money goes to."""
        match key:
            case Buy() | Rent() | Extra() | Spent() | Flow():
                return key.place
            case _:
                return None

    def rounded(self, values: list[float]) -> dict[int, float]:
        """Whole quanta near a relaxed plan: as much as it has bought by each quarter, and each job at the home that it likes best."""
        found: dict[int, float] = {}
        bought: dict[tuple[int, int], tuple[float, int]] = {}
        homes: dict[int, tuple[float, int]] = {}
        for key, column in self.program.columns.items():
            match key:
                case Buy():
                    wanted, have = bought.get((key.place, key.offer), (0.0, 0))
                    wanted += values[column]
                    more = max(0, ceil(wanted - have - ROUNDING))
                    found[column], bought[key.place, key.offer] = float(more), (wanted, have + more)
                case Home():
                    homes[key.job] = max(homes.get(key.job, (ROUNDING, -1)), (values[column], key.place))
                case _:
                    pass
        for key, column in self.program.columns.items():
            match key:
                case Home():
                    found[column] = float(homes[key.job][1] == key.place)
                case On():
                    found[column] = float(homes[key.job][1] == key.place and values[column] > ROUNDING)
                case _:
                    pass
        return found

    @property
    def hours_per_quarter(self) -> float:
        return sum(block.hours_per_quarter for block in self.blocks)
