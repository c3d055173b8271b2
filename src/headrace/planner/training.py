"""Training beside serving: each job at one home, in whole gangs, through the day or in its gaps, done by its deadline."""

from collections.abc import Iterator

from headrace.planner.draft import Draft
from headrace.planner.keys import Home, On, Run, State, Untrained


def training_columns(draft: Draft, job: int) -> None:
    asked = draft.ask.training[job]
    for at in (at for at, number in draft.question.trains if number == job):
        draft.program.column(Home(job, at), upper=1, whole=True)
        for quarter in draft.quarters_of(job):
            draft.program.column(On(job, at, quarter), upper=1, whole=True)
        for state in draft.states:
            if state.quarter in draft.quarters_of(job):
                draft.program.column(Run(job, at, state, False), upper=asked.gangs_max)
                if state.block == 0 and len(draft.blocks) > 1:
                    draft.program.column(Run(job, at, state, True), upper=asked.gangs_max)
    for case, how in enumerate(draft.cases):
        usd = asked.unserved_usd_per_accelerator_hour * asked.accelerator_hours
        column = draft.program.column(Untrained(job, case), usd * how.probability * (1 - draft.risk))
        draft.recourse[case].append((column, usd))


def training_rows(draft: Draft, job: int) -> None:
    columns = draft.program.columns
    homes = [at for at, number in draft.question.trains if number == job]
    draft.program.row(("home", job), [(columns[Home(job, at)], 1.0) for at in homes], upper=1.0)
    for case in range(len(draft.cases)):
        done = [term for at in homes for term in _trained(draft, job, at, case)]
        untrained = (columns[Untrained(job, case)], 1.0)
        draft.program.row(("train", job, case), [*done, untrained], lower=1.0, upper=1.0)
    for at in homes:
        for quarter in draft.quarters_of(job):
            draft.program.row(("on", job, at, quarter), [(columns[On(job, at, quarter)], 1.0), (columns[Home(job, at)], -1.0)], upper=0.0)
        for state in draft.states:
            if state.quarter in draft.quarters_of(job):
                _gang_rows(draft, job, at, state)


def _gang_rows(draft: Draft, job: int, at: int, state: State) -> None:
    """It runs only where it is at home, and only where a whole gang has room."""
    asked, columns = draft.ask.training[job], draft.program.columns
    on = columns[On(job, at, state.quarter)]
    running = [(column, value / asked.gang) for column, value in draft.gangs_of(job, at, state)]
    draft.program.row(("runs", state, job, at), [*running, (on, -float(asked.gangs_max))], upper=0.0)
    there, held = draft.there(state, at, firm=False)
    draft.program.row(("gang", state, job, at), [(on, float(asked.gang)), *((column, -value) for column, value in there)], upper=held)


def _trained(draft: Draft, job: int, at: int, case: int) -> Iterator[tuple[int, float]]:
    """The share of a job that a gang does in a state, without what pauses and checkpoints take."""
    asked = draft.ask.training[job]
    each = asked.gang * draft.question.trains[at, job] * (1 - asked.checkpoint_share) / asked.accelerator_hours
    for state in draft.states:
        if state.case != case or state.quarter not in draft.quarters_of(job):
            continue
        daily = draft.blocks[state.block].hours
        kept = 1.0 if len(draft.blocks) == 1 else max(0.0, daily - asked.pause_hours) / daily
        yield draft.program.columns[Run(job, at, state, False)], each * draft.hours(state) * kept
        if state.block == 0 and len(draft.blocks) > 1:
            yield draft.program.columns[Run(job, at, state, True)], each * draft.hours_per_quarter
