"""Schedules: which moments are due, and the leave of each, checked again whenever it is used."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace.agents import Grant
from headrace.agents.mandate import Mandate, allowed, takes, unsealed
from headrace.agents.times import cron_of
from headrace.core.clock import SECOND, Clock, Moment
from headrace.core.errors import InvalidRequest, LeaveInvalid, SetupError
from headrace.storage import Firing, Schedule, ScheduleStore

DUE_MAX: Final = 1_500
"""So many missed moments are written down: a day of a schedule by the minute."""
LATE_S: Final = 120


def dues(cron: str, zone: str, after: Moment, until: Moment) -> list[Moment]:
    """The moments after the one and up to the other at which it is due, in order; of too many the last.

    Raises InvalidRequest, or SetupError when the library is missing.
    """
    found: list[Moment] = []
    for moment in _moments(cron, zone, after):
        if moment > until:
            break
        found.append(moment)
        if len(found) > DUE_MAX:
            found.pop(0)
    return found


def next_due(cron: str, zone: str, after: Moment) -> Moment | None:
    """The next moment at which it is due; None where it never is again."""
    return next(iter(_moments(cron, zone, after)), None)


def _moments(cron: str, zone: str, after: Moment) -> Iterator[Moment]:
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise SetupError("Schedules need more packages: pip install 'headrace[workspace]'.") from None
    try:
        start = datetime.fromtimestamp(after / SECOND, UTC).astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidRequest(f"There is no time zone {zone!r}: write one such as Europe/Berlin.") from None
    try:
        times = CronSim(cron, start)
    except CronSimError as wrong:
        raise InvalidRequest(f"{cron!r} is no line of cron: {wrong}") from None
    return (int(time.timestamp()) * SECOND for time in times)


class Signed(Protocol):
    """What has a leave of its own, signed, until it is ended."""

    @property
    def leave(self) -> bytes: ...

    @property
    def ended(self) -> Moment | None: ...


class Signs(Protocol):
    """Where such are kept, by their ids."""

    def get(self, id: str) -> Signed: ...


class Keeper:
    """Looks after the leave of one schedule or trigger: read, checked and weighed against the time again for each step of a run."""

    def __init__(self, store: Signs, id: str, key: bytes, clock: Clock) -> None:
        self._store, self._id, self._key, self._clock = store, id, key, clock

    def mandate(self) -> Mandate:
        """Raises LeaveInvalid when it is not as it was signed, or is another's."""
        return self._checked(self._store.get(self._id))

    def _checked(self, held: Signed) -> Mandate:
        mandate = unsealed(held.leave, self._key)
        if mandate.schedule != self._id:
            raise LeaveInvalid("This leave was given to another: nothing is done on it.")
        return mandate

    @property
    def takes(self) -> bool:
        """Whether what was done is taken over unasked now. Raises LeaveInvalid."""
        held = self._store.get(self._id)
        return takes(self._checked(held), self._clock.moment(), ended=held.ended is not None)

    def __call__(self) -> Grant:
        """What may be done now. Raises LeaveInvalid."""
        held = self._store.get(self._id)
        return allowed(self._checked(held), self._clock.moment(), ended=held.ended is not None)


class Scheduler:
    """Says what is to be done now, and claims it. `new_run` names a run; `skipped` hears which moments of a schedule were missed."""

    def __init__(
        self,
        store: ScheduleStore,
        clock: Clock,
        new_run: Callable[[], str],
        skipped: Callable[[Schedule, list[Moment]], None] = lambda schedule, moments: None,
    ) -> None:
        self._store, self._clock, self._new_run, self._skipped = store, clock, new_run, skipped

    def claim(self) -> list[Firing]:
        """Claim whatever is due; then all firings that are to be gone on with, also those of a watch that was killed."""
        now = self._clock.moment()
        for schedule in self._store.all():
            if not schedule.rests and (found := dues(schedule.cron, schedule.zone, schedule.since, now)):
                *missed, due = found
                late_s = (now - due) // SECOND
                says = f"Late by {_long(late_s)}: nobody watched." if late_s > LATE_S else ""
                if self._store.claim(schedule, missed, due, self._new_run(), says, now) and missed:
                    self._skipped(schedule, missed)
        return self._store.firings("begun")

    def wakes(self) -> Moment | None:
        """When something is due next."""
        now = self._clock.moment()
        coming = [next_due(each.cron, each.zone, now) for each in self._store.all() if not each.rests]
        return min((moment for moment in coming if moment is not None), default=None)


def new_schedule(id: str, spoken: str, zone: str, leave: bytes, model: str, now: Moment, *, owner: str = "", key: bytes = b"") -> Schedule:
    """A schedule from now on; of no owner, it is that of who runs the server. Raises InvalidRequest when it is not clear when it is due, or
    it never is."""
    cron = cron_of(spoken)
    if next_due(cron, zone, now) is None:
        raise InvalidRequest(f"{spoken!r} never comes.")
    return Schedule(id=id, spoken=spoken, cron=cron, zone=zone, leave=leave, model=model, created=now, since=now, owner=owner, key=key)


def coming(cron: str, zone: str, after: Moment, count: int) -> list[Moment]:
    """The next moments at which it is due, so many at most. Raises InvalidRequest."""
    return list(islice(_moments(cron, zone, after), count))


def _long(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    return f"{days} days" if days > 1 else f"{hours} hours" if hours > 1 else f"{minutes} minutes"
