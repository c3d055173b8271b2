"""Training beside serving: jobs that take whole replicas while these stand idle, in gangs, and give them back when traffic wants them.

A job's work counts from checkpoint to checkpoint: what it did since the last one is lost when its gang is called back. Gangs start where
the pool is emptiest, only with replicas that work on nothing, and are called back when the rest of the pool has become busy.
"""

from collections.abc import Sequence

import msgspec

from headrace.simulator.report import JobReport

HOUR_S = 3_600.0


class Job(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Work of `accelerator_hours` by gangs of `gang` accelerators on one of the kinds `silicon` (any, where none is said).

    It starts when a pool is used to less than `starts_below` of its room, and ends, as far as it got by its last checkpoint, when what is
    left of the pool is used to more than `yields_above`.
    """

    name: str
    accelerator_hours: float
    gang: int
    silicon: tuple[str, ...] = ()
    checkpoint_min: float = 30.0
    deadline_h: float = 24.0
    from_h: float = 0.0
    gangs_max: int = 1
    starts_below: float = 0.35
    yields_above: float = 0.75

    def __post_init__(self) -> None:
        if self.accelerator_hours <= 0 or self.gang < 1 or self.gangs_max < 1 or self.checkpoint_min <= 0:
            raise ValueError(f"training job {self.name!r}: accelerator_hours, gang, gangs_max and checkpoint_min are above zero")
        if not 0 < self.starts_below < self.yields_above <= 1:
            raise ValueError(f"training job {self.name!r}: 0 < starts_below < yields_above <= 1")


class Gang(msgspec.Struct, frozen=True):
    """Some replicas at work on a job."""

    job: int
    site: int
    replicas: tuple[int, ...]
    accelerators: int
    since_s: float


class Idle(msgspec.Struct, frozen=True):
    """A pool as the jobs see it: which replicas work on nothing, how many accelerators each has, and how much of its room is in use."""

    site: int
    silicon: str
    replicas: tuple[int, ...]
    accelerators_each: int
    utilisation: float


class Jobs:
    """All jobs and their gangs. It decides; who drives it takes the replicas out of service and back."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = tuple(jobs)
        self.gangs: list[Gang] = []
        self._saved = [0.0] * len(jobs)
        self._used = [0.0] * len(jobs)
        self._lost = [0.0] * len(jobs)
        self._starts = [0] * len(jobs)
        self._finished: list[float | None] = [None] * len(jobs)

    def due(self, now_s: float, busy: dict[int, float]) -> list[Gang]:
        """The gangs that end now: their job is done, or their pool is busy. They are gone from `gangs`."""
        ended = []
        for gang in self.gangs:
            job = self.jobs[gang.job]
            worked = self._worked(gang, now_s)
            whole = self._saved[gang.job] + sum(self._worked(one, now_s) for one in self.gangs if one.job == gang.job)
            if whole >= job.accelerator_hours:
                self._finished[gang.job] = self._finished[gang.job] or now_s
            elif busy.get(gang.site, 0.0) <= job.yields_above:
                continue
            else:
                step = job.checkpoint_min / 60 * gang.accelerators
                self._lost[gang.job] += worked % step
                worked -= worked % step
            ended.append((gang, worked))
        for gang, worked in ended:
            self._saved[gang.job] += worked
            self._used[gang.job] += self._worked(gang, now_s)
            self.gangs.remove(gang)
        return [gang for gang, _ in ended]

    def start(self, now_s: float, idle: Sequence[Idle]) -> list[Gang]:
        """The gangs that begin now, on the emptiest pools that suit them."""
        begun: list[Gang] = []
        taken: set[int] = set()
        for at, job in enumerate(self.jobs):
            running = sum(gang.job == at for gang in self.gangs)
            if self._finished[at] is not None or running >= job.gangs_max or now_s < job.from_h * HOUR_S:
                continue
            for one in sorted(idle, key=lambda one: (one.utilisation, one.site)):
                count = -(-job.gang // one.accelerators_each)
                free = [replica for replica in one.replicas if replica not in taken]
                if one.utilisation < job.starts_below and len(free) >= count and (not job.silicon or one.silicon in job.silicon):
                    gang = Gang(at, one.site, tuple(free[:count]), count * one.accelerators_each, now_s)
                    taken |= set(gang.replicas)
                    self._starts[at] += 1
                    begun.append(gang)
                    break
        self.gangs += begun
        return begun

    def reports(self, now_s: float) -> tuple[JobReport, ...]:
        """How far each is."""
        reports = []
        for at, job in enumerate(self.jobs):
            running = sum(self._worked(gang, now_s) for gang in self.gangs if gang.job == at)
            done, finished = min(1.0, (self._saved[at] + running) / job.accelerator_hours), self._finished[at]
            reports.append(
                JobReport(
                    name=job.name,
                    done=round(done, 6),
                    finished_s=finished,
                    in_time=finished is not None and finished <= job.deadline_h * HOUR_S,
                    started=self._starts[at],
                    lost_accelerator_hours=round(self._lost[at], 6),
                    used_accelerator_hours=round(self._used[at] + running, 6),
                )
            )
        return tuple(reports)

    @staticmethod
    def _worked(gang: Gang, now_s: float) -> float:
        return (now_s - gang.since_s) / HOUR_S * gang.accelerators
