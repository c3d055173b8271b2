"""The plan as a mixed-integer program: what is bought before, what is held and served in each state of the world after, and the limits.

    minimise   (1 − r) Σ_w p_w cost_w + r · CVaR_τ(cost_w)                                    money, and a price on what goes unserved

    serve      Σ_i x[s,i,d] + unserved[s,d] = level[s,d]                                      each state, each demand that can't wait
    volume     Σ_b hours_b (Σ_i x[s,i,d] + unserved) = level · hours                          each quarter and case, what can wait
    wait       Σ_d load[i,d] x[s,i,d] ≤ ρ_i (bound + rented + σ · spot)                       over what can't wait
    room       the same over everything, with training, ≤ ρ' (bound + rented + spot)

A state is a quarter, a case and a block of the day; at an outage, a quarter in the most likely case with one place gone. What is bound (`Buy`) comes in
whole quanta before the case is known; what is rented by the hour (`Rent`) follows the state, but not an outage: what isn't held elsewhere
by then is not to be had. Flows are multiples of a demand's mean.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import ceil, inf
from typing import TypeAlias

import msgspec

from headrace.planner.day import Block, blocks
from headrace.planner.demand import Case, Demand
from headrace.planner.offers import Offer
from headrace.planner.program import Program
from headrace.planner.sites import Instance, Place

ROUNDING = 1e-6
RENT_WHOLE_MAX = 600
"""Up to so many columns, what is rented comes in whole quanta too; beyond, it is rounded up afterwards, which then matters little."""
EXCESS = 10.0
"""What goes unserved beyond what may at an outage is dearer by so much: a limit that yields only where it must."""


class State(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """`outage`: what is gone; None: nothing."""

    quarter: int
    case: int
    block: int
    outage: str | None = None


class Buy(msgspec.Struct, frozen=True, gc=False):
    place: int
    offer: int
    quarter: int


class Rent(msgspec.Struct, frozen=True, gc=False):
    place: int
    offer: int
    state: State


class Used(msgspec.Struct, frozen=True, gc=False):
    """Accelerators of an offer that is paid by use, above what is paid anyway."""

    place: int
    offer: int
    state: State


class Extra(msgspec.Struct, frozen=True, gc=False):
    """Accelerator-hours above what is paid anyway."""

    place: int
    offer: int
    quarter: int
    case: int


class Flow(msgspec.Struct, frozen=True, gc=False):
    state: State
    place: int
    demand: int


class Unserved(msgspec.Struct, frozen=True, gc=False):
    state: State
    demand: int


class Excess(msgspec.Struct, frozen=True, gc=False):
    state: State
    demand: int


class Spent(msgspec.Struct, frozen=True, gc=False):
    """What is paid to a vendor of tokens up to its minimum."""

    place: int
    quarter: int
    case: int


class Home(msgspec.Struct, frozen=True, gc=False):
    job: int
    place: int


class On(msgspec.Struct, frozen=True, gc=False):
    job: int
    place: int
    quarter: int


class Run(msgspec.Struct, frozen=True, gc=False):
    """Gangs of a job in a state; `through`: in all blocks of the day alike, so that none pauses."""

    job: int
    place: int
    state: State
    through: bool


class Untrained(msgspec.Struct, frozen=True, gc=False):
    """The share of a job that is not done in time."""

    job: int
    case: int


class Tail(msgspec.Struct, frozen=True, gc=False):
    """By how much a case is dearer than the threshold of the dearest; of no case, the threshold."""

    case: int | None


Key: TypeAlias = Buy | Rent | Used | Extra | Flow | Unserved | Excess | Spent | Home | On | Run | Untrained | Tail
RowKey: TypeAlias = tuple[str | int | State, ...]


class Formulation:
    """Writes an instance down as a program, once; `money` are the columns' costs without the price on what goes unserved."""

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
        self._rents = sum(1 for place in question.places for offer in place.offers if not offer.committed) * len(self.states)
        self._columns()
        self._rows()

    # What each state asks for.

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

    # Columns.

    def _columns(self) -> None:
        for at, place in enumerate(self.question.places):
            for number, offer in enumerate(place.offers):
                if offer.committed:
                    self._buy(at, number, offer)
                else:
                    self._rent(at, number, offer)
            if place.tokens is not None and place.tokens.usd_per_quarter_min > 0:
                for case in range(len(self.cases)):
                    for quarter in range(self.limits.quarters):
                        self._spend(Spent(at, quarter, case), 1.0, case, quarter)
        for state in (*self.states, *self.outages):
            self._serve_columns(state)
        for job in range(len(self.ask.training)):
            self._training_columns(job)

    def _buy(self, at: int, number: int, offer: Offer) -> None:
        """Paid from its start to the horizon's end or its own; of what comes after, the share that counts."""
        usd = self._usd(self.question.places[at], offer)
        for quarter in range(offer.lead, self.limits.quarters):
            inside = min(offer.length, self.limits.quarters - quarter)
            after = offer.length - inside
            hours = self.hours_per_quarter * (inside + self.limits.tail_share * after)
            cost = usd * offer.size * hours * offer.take_or_pay
            upper = inf if offer.accelerators_max is None else offer.accelerators_max // offer.size
            column = self.program.column(Buy(at, number, quarter), cost, upper=upper, whole=True)
            self.money[column] = usd * offer.size * self.hours_per_quarter * inside * offer.take_or_pay
        if offer.take_or_pay < 1:
            for state in self.states:
                self.program.column(Used(at, number, state))
            for case in range(len(self.cases)):
                for quarter in range(self.limits.quarters):
                    self._spend(Extra(at, number, quarter, case), usd, case, quarter)

    def _rent(self, at: int, number: int, offer: Offer) -> None:
        usd, whole = self._usd(self.question.places[at], offer), self._rents <= RENT_WHOLE_MAX
        upper = inf if offer.accelerators_max is None else offer.accelerators_max / offer.size
        for state in self.states:
            price = usd * self.cases[state.case].price_factor(self.question.places[at].cloud, state.quarter)
            cost = price * offer.size * self.hours(state)
            self._spend(Rent(at, number, state), cost, state.case, state.quarter, upper=upper, whole=whole)

    def _usd(self, place: Place, offer: Offer) -> float:
        """An accelerator-hour with the price on its carbon."""
        assert offer.usd_per_accelerator_hour is not None
        return offer.usd_per_accelerator_hour + place.kw * place.carbon_g_per_kwh / 1e6 * self.limits.usd_per_carbon_t

    def _spend(self, key: Key, cost: float, case: int, quarter: int, *, upper: float = inf, whole: bool = False) -> int:
        """A column whose cost is known only when the case is."""
        assert quarter < self.limits.quarters
        expected = cost * self.cases[case].probability * (1 - self.risk)
        column = self.program.column(key, expected, upper=upper, whole=whole)
        self.money[column] = cost * self.cases[case].probability
        self.recourse[case].append((column, cost))
        return column

    def _serve_columns(self, state: State) -> None:
        for (at, demand), _ in self.question.loads.items():
            asked = self.ask.demands[demand]
            if self.gone(state, self.question.places[at]) or (state.outage is not None and asked.may_wait):
                continue
            slices = asked.slices
            self.program.column(Flow(state, at, demand), upper=inf if slices is None else slices, whole=slices is not None)
        for (at, demand), usd in self.question.usd_per_s.items():
            asked = self.ask.demands[demand]
            if self.gone(state, self.question.places[at]) or (state.outage is not None and asked.may_wait):
                continue
            if state.outage is not None:
                self.program.column(Flow(state, at, demand))
                continue
            factor = self.cases[state.case].price_factor(self.question.places[at].cloud, state.quarter)
            cost = usd * factor * self.hours(state) * 3_600 * self.mean_share(state, asked) * self.unit(asked, state)
            self._spend(Flow(state, at, demand), cost, state.case, state.quarter, upper=asked.slices or inf, whole=asked.slices is not None)
        for demand, asked in enumerate(self.ask.demands):
            self._unserved_columns(state, demand, asked)

    def _unserved_columns(self, state: State, demand: int, asked: Demand) -> None:
        seconds = self.hours(state) * 3_600
        usd = asked.unserved_usd * asked.tokens_per_s / 1e6 * seconds
        if state.outage is None:
            probability = self.cases[state.case].probability
            column = self.program.column(Unserved(state, demand), usd * probability * (1 - self.risk))
            self.recourse[state.case].append((column, usd))
        elif not asked.may_wait:
            self.program.column(Unserved(state, demand), upper=asked.unserved_max * self.level(state, asked))
            self.program.column(Excess(state, demand), usd * EXCESS)

    def _training_columns(self, job: int) -> None:
        asked = self.ask.training[job]
        for at in (at for at, number in self.question.trains if number == job):
            self.program.column(Home(job, at), upper=1, whole=True)
            for quarter in self.quarters_of(job):
                self.program.column(On(job, at, quarter), upper=1, whole=True)
            for state in self.states:
                if state.quarter in self.quarters_of(job):
                    self.program.column(Run(job, at, state, False), upper=asked.gangs_max)
                    if state.block == 0 and len(self.blocks) > 1:
                        self.program.column(Run(job, at, state, True), upper=asked.gangs_max)
        for case, how in enumerate(self.cases):
            usd = asked.unserved_usd_per_accelerator_hour * asked.accelerator_hours
            column = self.program.column(Untrained(job, case), usd * how.probability * (1 - self.risk))
            self.recourse[case].append((column, usd))

    def quarters_of(self, job: int) -> range:
        asked = self.ask.training[job]
        return range(asked.start_quarter, min(asked.deadline_quarter + 1, self.limits.quarters))

    # Rows.

    def _rows(self) -> None:
        by_place: dict[int, list[int]] = {}
        for at, demand in self.question.loads:
            by_place.setdefault(at, []).append(demand)
        serving: dict[int, list[int]] = {}
        for at, demand in [*self.question.loads, *self.question.usd_per_s]:
            serving.setdefault(demand, []).append(at)
        for state in (*self.states, *self.outages):
            for demand, asked in enumerate(self.ask.demands):
                if not asked.may_wait:
                    self._serve(state, demand, asked, serving.get(demand, []))
            for at, demands in by_place.items():
                self._capacity(state, at, demands)
        for quarter in range(self.limits.quarters):
            for case in range(len(self.cases)):
                for demand, asked in enumerate(self.ask.demands):
                    if asked.may_wait:
                        self._volume(quarter, case, demand, asked, serving.get(demand, []))
        for job in range(len(self.ask.training)):
            self._training_rows(job)
        self._offer_rows()
        self._token_rows()
        self._share_rows()
        self._physical_rows()
        self._tail_rows()

    def unit(self, asked: Demand, state: State) -> float:
        """What one of a flow's columns stands for: the demand's mean, or a slice of what is asked for."""
        return 1.0 if asked.slices is None else self.level(state, asked) / asked.slices

    def flows(self, state: State, demand: int, places: Iterable[int]) -> list[tuple[int, float]]:
        unit = self.unit(self.ask.demands[demand], state)
        found = ((self.program.columns.get(Flow(state, at, demand)), unit) for at in places)
        return [(column, value) for column, value in found if column is not None]

    def _serve(self, state: State, demand: int, asked: Demand, places: list[int]) -> None:
        level = self.level(state, asked)
        terms = [*self.flows(state, demand, places), (self.program.columns[Unserved(state, demand)], 1.0)]
        if state.outage is not None:
            terms.append((self.program.columns[Excess(state, demand)], 1.0))
        self.program.row(("serve", state, demand), terms, lower=level, upper=level)

    def _volume(self, quarter: int, case: int, demand: int, asked: Demand, places: list[int]) -> None:
        terms: list[tuple[int, float]] = []
        volume = 0.0
        for block in range(len(self.blocks)):
            state = State(quarter, case, block)
            hours = self.hours(state) / self.hours_per_quarter
            terms += [(column, value * hours) for column, value in self.flows(state, demand, places)]
            terms.append((self.program.columns[Unserved(state, demand)], hours))
            volume += hours * self.level(state, asked)
        self.program.row(("volume", quarter, case, demand), terms, lower=volume, upper=volume)

    @property
    def hours_per_quarter(self) -> float:
        return sum(block.hours_per_quarter for block in self.blocks)

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

    def _capacity(self, state: State, at: int, demands: list[int]) -> None:
        """Two rows: what can't wait leaves headroom and relies on no spot; all together fill what is there."""
        if self.gone(state, self.question.places[at]):
            return
        loads = [(demand, self.question.loads[at, demand]) for demand in demands]
        waiting = [each for each in loads if self.ask.demands[each[0]].may_wait]
        firm = [each for each in loads if not self.ask.demands[each[0]].may_wait]
        if firm:
            self._room("wait", state, at, firm, self.question.utilisation[at], firm=True)
        if state.outage is None and (waiting or self._trainable(at)):
            self._room("room", state, at, loads, max(self.limits.utilisation_deferrable, self.question.utilisation[at]), firm=False)

    def _trainable(self, at: int) -> bool:
        return any(place == at for place, _ in self.question.trains)

    def _room(self, name: str, state: State, at: int, loads: list[tuple[int, float]], share: float, *, firm: bool) -> None:
        terms: list[tuple[int, float]] = []
        for demand, load in loads:
            column = self.program.columns.get(Flow(state, at, demand))
            if column is not None:
                terms.append((column, load * self.unit(self.ask.demands[demand], state)))
        if not firm:
            terms += self._gangs(state, at)
        there, held = self.there(state, at, firm=firm)
        terms += [(column, -value * share) for column, value in there]
        self.program.row((name, state, at), terms, upper=held * share)

    def _gangs(self, state: State, at: int) -> list[tuple[int, float]]:
        terms: list[tuple[int, float]] = []
        for job, asked in enumerate(self.ask.training):
            for key in (Run(job, at, state, False), Run(job, at, State(state.quarter, state.case, 0), True)):
                column = self.program.columns.get(key)
                if column is not None:
                    terms.append((column, float(asked.gang)))
        return terms

    def _training_rows(self, job: int) -> None:
        asked, columns = self.ask.training[job], self.program.columns
        homes = [at for at, number in self.question.trains if number == job]
        self.program.row(("home", job), [(columns[Home(job, at)], 1.0) for at in homes], upper=1.0)
        for case in range(len(self.cases)):
            done = [term for at in homes for term in self._trained(job, at, case)]
            untrained = (columns[Untrained(job, case)], 1.0)
            self.program.row(("train", job, case), [*done, untrained], lower=1.0, upper=1.0)
        for at in homes:
            for quarter in self.quarters_of(job):
                self.program.row(
                    ("on", job, at, quarter), [(columns[On(job, at, quarter)], 1.0), (columns[Home(job, at)], -1.0)], upper=0.0
                )
            for state in self.states:
                if state.quarter in self.quarters_of(job):
                    self._gang_rows(job, at, state)

    def _gang_rows(self, job: int, at: int, state: State) -> None:
        """It runs only where it is at home, and only where a whole gang has room."""
        asked, columns = self.ask.training[job], self.program.columns
        on = columns[On(job, at, state.quarter)]
        running = [(column, value / asked.gang) for column, value in self._gangs_of(job, at, state)]
        self.program.row(("runs", state, job, at), [*running, (on, -float(asked.gangs_max))], upper=0.0)
        there, held = self.there(state, at, firm=False)
        self.program.row(("gang", state, job, at), [(on, float(asked.gang)), *((column, -value) for column, value in there)], upper=held)

    def _gangs_of(self, job: int, at: int, state: State) -> list[tuple[int, float]]:
        keys = (Run(job, at, state, False), Run(job, at, State(state.quarter, state.case, 0), True))
        found = [self.program.columns.get(key) for key in keys]
        return [(column, float(self.ask.training[job].gang)) for column in found if column is not None]

    def _trained(self, job: int, at: int, case: int) -> Iterator[tuple[int, float]]:
        """The share of a job that a gang does in a state, without what pauses and checkpoints take."""
        asked = self.ask.training[job]
        each = asked.gang * self.question.trains[at, job] * (1 - asked.checkpoint_share) / asked.accelerator_hours
        for state in self.states:
            if state.case != case or state.quarter not in self.quarters_of(job):
                continue
            daily = self.blocks[state.block].hours
            kept = 1.0 if len(self.blocks) == 1 else max(0.0, daily - asked.pause_hours) / daily
            yield self.program.columns[Run(job, at, state, False)], each * self.hours(state) * kept
            if state.block == 0 and len(self.blocks) > 1:
                yield self.program.columns[Run(job, at, state, True)], each * self.hours_per_quarter

    def _offer_rows(self) -> None:
        for at, place in enumerate(self.question.places):
            for number, offer in enumerate(place.offers):
                if not offer.committed:
                    continue
                for quarter in range(self.limits.quarters):
                    active = self.active(at, number, quarter)
                    if offer.accelerators_max is not None and len(active) > 1:
                        terms = [(column, float(offer.size)) for column in active]
                        self.program.row(("offer", at, number, quarter), terms, upper=float(offer.accelerators_max))
                    if offer.take_or_pay < 1:
                        self._paid_by_use(at, number, offer, quarter, active)

    def _paid_by_use(self, at: int, number: int, offer: Offer, quarter: int, active: list[int]) -> None:
        for case in range(len(self.cases)):
            used: list[tuple[int, float]] = []
            for block in range(len(self.blocks)):
                state = State(quarter, case, block)
                column = self.program.columns[Used(at, number, state)]
                bound = [(bought, -float(offer.size)) for bought in active]
                self.program.row(("used", state, at, number), [(column, 1.0), *bound], upper=0.0)
                used.append((column, self.hours(state)))
            anyway = [(bought, -offer.take_or_pay * offer.size * self.hours_per_quarter) for bought in active]
            extra = (self.program.columns[Extra(at, number, quarter, case)], -1.0)
            self.program.row(("extra", quarter, case, at, number), [*used, *anyway, extra], upper=0.0)

    def _token_rows(self) -> None:
        """What a vendor can serve at most, and the least that it is paid."""
        for at, place in enumerate(self.question.places):
            if place.tokens is None:
                continue
            demands = [demand for where, demand in self.question.usd_per_s if where == at]
            most = place.tokens.tokens_per_s_max
            for state in (*self.states, *self.outages):
                terms = [
                    (column, value * self.ask.demands[demand].tokens_per_s)
                    for demand in demands
                    for column, value in self.flows(state, demand, [at])
                ]
                if most is not None and terms:
                    self.program.row(("tokens", state, at), terms, upper=most)
            if place.tokens.usd_per_quarter_min > 0:
                self._minimum(at, demands, place.tokens.usd_per_quarter_min)

    def _minimum(self, at: int, demands: list[int], least: float) -> None:
        for quarter in range(self.limits.quarters):
            for case in range(len(self.cases)):
                columns = (
                    self.program.columns[Flow(State(quarter, case, block), at, d)] for d in demands for block in range(len(self.blocks))
                )
                bill = [(column, self.money[column] / self.cases[case].probability) for column in columns]
                spent = (self.program.columns[Spent(at, quarter, case)], 1.0)
                self.program.row(("minimum", quarter, case, at), [*bill, spent], lower=least)

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

    def _share_rows(self) -> None:
        """No cloud, and no maker of silicon, gets more than its share of all that is spent."""
        places = self.question.places
        payees = {column: places[at] for key, column in self.program.columns.items() if (at := self.place_of(key)) is not None}
        for name, shares, of in (
            ("cloud", self.limits.cloud_share_max, lambda place: place.cloud),
            ("silicon vendor", self.limits.silicon_vendor_share_max, lambda place: place.silicon_vendor),
        ):
            names = {of(place) for place in places}
            for each in sorted(names & shares.keys() if "*" not in shares else names):
                most = shares.get(each, shares.get("*", 1.0))
                if most >= 1:
                    continue
                held = sum(
                    (float(of(place) == each) - most) * usd * self.hours_per_quarter for place in places for usd in place.held_usd_per_hour
                )
                terms = [
                    (column, usd * (float(of(payees[column]) == each) - most)) for column, usd in self.money.items() if column in payees
                ]
                self.program.row((name, each), terms, upper=-held)

    def _physical_rows(self) -> None:
        """Supply of silicon, power of places, carbon of quarters."""
        for state in self.states:
            for silicon, most in self.limits.accelerators_max.items():
                inside = [at for at, place in enumerate(self.question.places) if place.silicon == silicon]
                self._standing(("silicon", silicon, state), state, inside, lambda place: 1.0, most)
            for region, most in self.limits.power_kw_max.items():
                inside = [at for at, place in enumerate(self.question.places) if f"{place.cloud}/{place.region}" == region]
                self._standing(("power", region, state), state, inside, lambda place: place.kw, most)
        if self.limits.carbon_t_max is not None:
            for quarter in range(self.limits.quarters):
                self._carbon(quarter, self.limits.carbon_t_max)

    def held_terms(self, state: State, at: int) -> list[tuple[int, float]]:
        """All accelerators that are paid for at a place in a state, there or not."""
        terms: list[tuple[int, float]] = []
        for number, offer in enumerate(self.question.places[at].offers):
            if offer.committed:
                terms += [(column, float(offer.size)) for column in self.active(at, number, state.quarter)]
            else:
                terms.append((self.program.columns[Rent(at, number, state)], float(offer.size)))
        return terms

    def _standing(self, key: RowKey, state: State, inside: list[int], weight, most: float) -> None:  # type: ignore[no-untyped-def]
        places = self.question.places
        terms = [(column, value * weight(places[at])) for at in inside for column, value in self.held_terms(state, at)]
        held = sum(places[at].held[state.quarter] * weight(places[at]) for at in inside)
        if terms:
            self.program.row(key, terms, upper=max(0.0, most - held))

    def _carbon(self, quarter: int, most_t: float) -> None:
        terms: dict[int, float] = {}
        held = 0.0
        for state in (state for state in self.states if state.quarter == quarter):
            weight = self.cases[state.case].probability * self.hours(state)
            for at, place in enumerate(self.question.places):
                tonnes = weight * place.kw * place.carbon_g_per_kwh / 1e6
                held += tonnes * place.held[quarter]
                for column, value in self.held_terms(state, at):
                    terms[column] = terms.get(column, 0.0) + value * tonnes
        self.program.row(("carbon", quarter), terms.items(), upper=max(0.0, most_t - held))

    def _tail_rows(self) -> None:
        """The mean of the dearest cases: a threshold, and what each case is above it."""
        if not self.risk:
            return
        threshold = self.program.column(Tail(None), self.risk, lower=-inf)
        for number, case in enumerate(self.cases):
            weight = self.risk * case.probability / self.limits.risk_tail
            above = self.program.column(Tail(number), weight)
            costs = [(column, -cost) for column, cost in self.recourse[number]]
            self.program.row(("tail", number), [(above, 1.0), (threshold, 1.0), *costs], lower=0.0)
