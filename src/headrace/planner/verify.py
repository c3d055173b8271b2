"""A plan held against the simulator: the hour when most is asked for, by the gateway's own placement, over what the plan has bought.

Each place becomes a pool a model, with as many replicas as its part of the accelerators makes, and serves the demands that it may by law.
A demand asks for a model under a name of its own, so that nothing is sent where it may not go. Arrivals are at random (Poisson), lengths
spread around the demand's mean, prompts share what their cache holds. Who asks what is drawn from a seed; where it goes, `routing.decide`
says.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from math import floor
from typing import TypeAlias

import msgspec

from headrace.core.identity import TrafficClass
from headrace.planner.demand import Demand
from headrace.planner.draft import Draft
from headrace.planner.keys import State
from headrace.planner.planning import Effort, Planned, make_plan
from headrace.planner.sites import Instance, Place
from headrace.portfolio import Pool, TokenCost
from headrace.routing import CLASSES
from headrace.simulator import Mix, Service, Services, feasible, mix_of
from headrace.simulator.calls import Call
from headrace.simulator.fleet import Block, Fleet
from headrace.simulator.report import ClassReport, Report
from headrace.simulator.run import Run, RunSettings
from headrace.simulator.sites import Site, Vendor
from headrace.simulator.synthetic import Source, Synthetic

FleetOf: TypeAlias = Callable[[Sequence[Block]], Fleet]
CALLS_MAX = 60_000
"""Of so many a slice of the fleet is made, with its demand: placement is the same, tails are a little wider than on the whole."""
SPREAD = 0.5
"""Of the logarithm of lengths, around each demand's mean."""
WARM_SHARE = 0.67
"""Of the simulated time, to fill the caches."""
WITHIN_MIN = 0.95
REFUSED_MAX = 0.01
"""What a class must come to: of the answers within its objectives, of the requests refused."""
STEP = 0.85
ROUNDS_MAX = 6
UTILISATION_MIN = 0.2
CONTEXT_MAX = 1_000_000


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One class in the simulated hour. `kept`: it came to what it must."""

    traffic_class: TrafficClass
    requests: int
    refused_share: float
    within_share: float
    ttft_ms_p99: float
    tpot_ms_p99: float
    kept: bool


class Hour(msgspec.Struct, frozen=True, kw_only=True):
    """One state of the plan, simulated: which it is, the slice of the fleet that was played, and how each class that can't wait did.

    `left_out`: demands for which the slice has no whole replica. `report` of None: there was nothing to simulate.
    """

    state: str
    scale: float
    report: Report | None
    verdicts: tuple[Verdict, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def kept(self) -> bool:
        return all(verdict.kept for verdict in self.verdicts)

    @property
    def worst(self) -> float:
        """The least share of a class's requests that were served within its objectives."""
        return min((verdict.within_share * (1 - verdict.refused_share) for verdict in self.verdicts), default=1.0)


class Verified(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The plan at the end, its busiest hour with all places and, where it is to bear an outage, without the one that serves most; and what
    each round came to: its utilisation, its cost, and the worst share within objectives.
    """

    planned: Planned
    hours: tuple[Hour, ...]
    rounds: tuple[tuple[float, float, float], ...]

    @property
    def kept(self) -> bool:
        return all(hour.kept for hour in self.hours)


def verify(
    planned: Planned, services: Services, fleet_of: FleetOf, *, seed: int, seconds: float = 60.0, effort: Effort | None = None
) -> Verified:
    """Simulate the plan; while a class misses what it must come to, plan again with less of each accelerator used, and simulate that."""
    rounds: list[tuple[float, float, float]] = []
    while True:
        hours = tuple(simulate(planned, services, fleet_of, state, seed=seed, seconds=seconds) for state in hardest(planned))
        used = max(planned.question.utilisation, default=0.0)
        rounds.append((used, planned.plan.usd, min(hour.worst for hour in hours)))
        less = used * STEP
        if all(hour.kept for hour in hours) or len(rounds) == ROUNDS_MAX or less < UTILISATION_MIN:
            return Verified(planned=planned, hours=hours, rounds=tuple(rounds))
        count = len(planned.question.places)
        planned = make_plan(msgspec.structs.replace(planned.question, utilisation=(less,) * count), effort)


def hardest(planned: Planned) -> tuple[State, ...]:
    """The state in which most is asked, and, of the outages in its quarter, the one of the place that serves most then."""
    state = busiest(planned.draft)
    outages = [outage for outage in planned.draft.outages if outage.quarter == state.quarter]
    served = {outage: _served(planned, state, outage.outage or "") for outage in outages}
    worst = max(outages, key=lambda outage: served[outage], default=None)
    return (state,) if worst is None or served[worst] <= 0 else (state, worst)


def _served(planned: Planned, state: State, domain: str) -> float:
    """Tokens a second that the places of a domain serve in a state."""
    draft, outage = planned.draft, planned.question.limits.outage
    inside = [at for at, place in enumerate(planned.question.places) if place.domain(outage) == domain]
    return sum(
        planned.solution.values[column] * unit * demand.tokens_per_s
        for number, demand in enumerate(draft.ask.demands)
        if not demand.may_wait
        for column, unit in draft.flows(state, number, inside)
    )


def _verdict(of_class: ClassReport) -> Verdict:
    within, refused = of_class.within_slo, of_class.refused / of_class.arrived
    return Verdict(
        traffic_class=of_class.traffic_class,
        requests=of_class.arrived,
        refused_share=refused,
        within_share=within,
        ttft_ms_p99=of_class.ttft_ms.p99,
        tpot_ms_p99=of_class.tpot_ms.p99,
        kept=within >= WITHIN_MIN and refused <= REFUSED_MAX,
    )


def simulate(planned: Planned, services: Services, fleet_of: FleetOf, state: State, *, seed: int, seconds: float) -> Hour:
    """A state of the plan for so many seconds: what can't wait, and at an outage only what must not be turned away then."""
    draft = planned.draft
    demands = [
        (number, demand)
        for number, demand in enumerate(draft.ask.demands)
        if not demand.may_wait and (state.outage is None or not demand.unserved_max)
    ]
    sources = [_source(draft, state, number, demand) for number, demand in demands]
    calls = sum(source.sessions_per_s for source in sources) * seconds
    scale = min(1.0, CALLS_MAX / calls) if calls else 1.0
    sites = list(_sites(planned, services, state, scale))
    served = {alias for site in sites for alias in site.pool.models}
    kept = [source for source in sources if source.model in served]
    left_out = tuple(source.name for source in sources if source.model not in served)
    name = _name(draft, state)
    if not kept:
        return Hour(state=name, scale=scale, report=None, left_out=left_out)
    start, duration_ms = float(draft.blocks[state.block].start), seconds * 1_000
    workload = Warm(Synthetic(kept, seed=seed, duration_ms=duration_ms, scale=scale, start_hour=start), duration_ms * WARM_SHARE)
    fleet = fleet_of([site.block for site in sites if site.block is not None])
    report = Run(RunSettings(name="plan", seed=seed, duration_s=seconds, scale=scale), sites, fleet, workload).go()
    urgent = {demand.traffic_class for _, demand in demands}
    verdicts = tuple(_verdict(each) for each in report.classes if each.arrived and each.traffic_class in urgent)
    return Hour(state=name, scale=scale, report=report, verdicts=verdicts, left_out=left_out)


def _name(draft: Draft, state: State) -> str:
    lost = "" if state.outage is None else f", without {state.outage}"
    return f"quarter {state.quarter + 1}, {draft.blocks[state.block].title}, {draft.cases[state.case].name}{lost}"


def busiest(draft: Draft) -> State:
    """Of the likeliest case, the quarter and block in which most is asked for."""
    likely = max(range(len(draft.cases)), key=lambda case: draft.cases[case].probability)

    def asked(state: State) -> float:
        return sum(draft.level(state, demand) * demand.tokens_per_s for demand in draft.ask.demands if not demand.may_wait)

    return max((state for state in draft.states if state.case == likely), key=asked)


def alias(number: int, demand: Demand) -> str:
    """The name under which a demand asks for its model."""
    return f"{demand.model}#{number}"


def _source(draft: Draft, state: State, number: int, demand: Demand) -> Source:
    """The demand at its level in the state, all day long."""
    per_s = draft.level(state, demand) * demand.tokens_per_s / (demand.tokens_in + demand.tokens_out)
    return Source(
        name=demand.title,
        traffic_class=demand.traffic_class,
        model=alias(number, demand),
        sessions_per_s=per_s,
        tokens_in=demand.tokens_in,
        tokens_out=demand.tokens_out,
        spread=SPREAD,
        tokens_shared=floor(demand.tokens_in * demand.cached_share),
        swing=0.0,
        tenants=1,
        tokens_context_max=CONTEXT_MAX,
    )


class Warm:
    """Calls of which each finds the cached part of its prompt wherever it goes, once any call was there: a slice that begins cold would
    otherwise never reach the caches of the day that is meant. What comes before `from_ms` comes as batch: it fills the caches and is judged
    by nobody. What moving a session costs is the simulator's own question, not this one's.
    """

    def __init__(self, held: Synthetic, from_ms: float) -> None:
        self._held, self._from_ms = held, from_ms
        self.closed, self.expected = False, held.expected

    def calls(self) -> Iterator[Call]:
        for call in self._held.calls():
            if call.at_ms < self._from_ms:
                yield msgspec.structs.replace(call, affinity=0, traffic_class="batch")
            else:
                yield msgspec.structs.replace(call, affinity=0)

    def after(self, call: Call, ended_ms: float, *, answered: bool) -> Call | None:
        return None


def _sites(planned: Planned, services: Services, state: State, scale: float) -> Iterator[Site]:
    """Each place's accelerators, divided among its models by what the plan has them do."""
    question = planned.question
    there = _accelerators(planned, state)
    for at, place in enumerate(question.places):
        by_model: defaultdict[str, list[int]] = defaultdict(list)
        for where, number in question.loads:
            if where == at and not question.ask.demands[number].may_wait:
                by_model[question.ask.demands[number].model].append(number)
        loads = {model: _load(planned, at, state, numbers) for model, numbers in by_model.items()}
        total = sum(loads.values())
        for model, numbers in by_model.items():
            if there[at] > 0 and total > 0 and loads[model] > 0:
                yield from _site(planned.question, place, model, numbers, there[at] * loads[model] / total * scale, services)
    for at, place in enumerate(question.places):
        if place.tokens is not None and not planned.draft.gone(state, place):
            yield from _vendor(question, at, place, scale)


def _accelerators(planned: Planned, state: State) -> list[float]:
    """What is there for those who can't wait, by place: spot counts as far as it may."""
    draft, values = planned.draft, planned.solution.values
    found = []
    for at, place in enumerate(planned.question.places):
        if place.tokens is not None:
            found.append(0.0)
            continue
        terms, held = draft.there(state, at, firm=True)
        found.append(held + sum(values[column] * value for column, value in terms))
    return found


def _load(planned: Planned, at: int, state: State, numbers: Sequence[int]) -> float:
    """Accelerators that the plan fills there with these demands in the state."""
    draft, values = planned.draft, planned.solution.values
    return sum(
        values[column] * unit * planned.question.loads[at, number]
        for number in numbers
        for column, unit in draft.flows(state, number, [at])
    )


def _site(question: Instance, place: Place, model: str, numbers: Sequence[int], accelerators: float, services: Services) -> Iterator[Site]:
    demands = [question.ask.demands[number] for number in numbers]
    mix = mix_of(
        (
            demand.tokens_per_s / (demand.tokens_in + demand.tokens_out),
            demand.tokens_in,
            demand.tokens_in * demand.cached_share,
            demand.tokens_out,
        )
        for demand in demands
    )
    ttft, tpot = min(CLASSES[d.traffic_class].ttft_ms for d in demands), min(CLASSES[d.traffic_class].tpot_ms for d in demands)
    best = services.best(model, place.silicon, mix, ttft_ms_max=ttft, tpot_ms_max=tpot)
    if best is None:
        return
    service, stands = best
    replicas = round(accelerators / service.accelerators)
    if replicas < 1:
        return
    limit = max(stands.batch, _batch(service, mix))
    pool = Pool(
        name=f"{place.name}/{model}",
        dialect="openai",
        models={alias(number, question.ask.demands[number]): model for number in numbers},
        concurrency_max=replicas * limit,
        vendor=place.cloud,
        cloud=place.cloud,
        region=place.region,
        silicon=place.silicon,
        jurisdictions=place.jurisdictions,
        owned=True,
        ttft_ms=stands.ttft_ms,
        tpot_ms=stands.tpot_ms,
        prefill_tokens_per_s=1_000 / max(service.prompt_ms, 1e-3) * replicas,
    )
    yield Site(pool=pool, block=Block(service=service, replicas=replicas), geography=geography(place))


def _batch(service: Service, mix: Mix) -> int:
    """How many a replica may have at once at all: as many as the loosest class would let it."""
    found = feasible(service, mix, ttft_ms_max=CLASSES["agentic"].ttft_ms, tpot_ms_max=CLASSES["agentic"].tpot_ms)
    return 1 if found is None else found.batch


def _vendor(question: Instance, at: int, place: Place, scale: float) -> Iterator[Site]:
    offer = place.tokens
    numbers = [number for where, number in question.usd_per_s if where == at and not question.ask.demands[number].may_wait]
    if offer is None or not numbers:
        return
    cost = TokenCost(offer.input * 1e6, (offer.input if offer.cached_input is None else offer.cached_input) * 1e6, offer.output * 1e6)
    models = {alias(number, question.ask.demands[number]): offer.model for number in numbers}
    pool = Pool(
        name=place.name,
        dialect="openai",
        models=models,
        vendor=place.cloud,
        cloud=place.cloud,
        region=place.region,
        jurisdictions=place.jurisdictions,
        costs=dict.fromkeys(models, cost),
        ttft_ms=offer.ttft_ms,
        tpot_ms=offer.tpot_ms,
    )
    most = None if offer.tokens_per_s_max is None else round(offer.tokens_per_s_max * scale * 60)
    yield Site(pool=pool, vendor=Vendor(tokens_per_minute=most))


_GEOGRAPHIES: tuple[tuple[int, frozenset[str]], ...] = (
    (0, frozenset({"us", "ca"})),
    (1, frozenset({"eea-ch", "eea", "uk", "gb", "rs"})),
    (3, frozenset({"br", "cl", "co", "mx"})),
    (4, frozenset({"ae", "sa", "il", "za", "qa", "om", "bh"})),
)


def geography(place: Place) -> int:
    """Of the simulator's, by the country: America, Europe, South America, Middle East and Africa, else Asia and the Pacific."""
    return next((number for number, holding in _GEOGRAPHIES if not holding.isdisjoint(place.jurisdictions)), 2)
