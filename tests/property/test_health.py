"""Health as a state machine: whatever pools do, and however their requests end, in whatever order.

The laws: what it may take is 1 to `concurrency_max`; who says when to come back is not asked before; while one request tries it, no other
does, until something was heard of the pool or that one was given up; and after any history it is open again, with all its room, in a time
that can be said.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.core.clock import MS, SECOND, Instant
from headrace.routing import Health, HealthSettings, Load

SETTINGS = HealthSettings(failures_max=3, failure_share=0.5, samples_min=6, window_ms=2_000, closed_ms=500, closed_ms_max=8_000)
TICK = 100 * MS


class Pool(RuleBasedStateMachine):
    """A pool as the gateway uses it: it is asked only when `closed_until` is past and there is room."""

    def __init__(self) -> None:
        super().__init__()
        self.now: Instant = 1_000 * SECOND
        self.limit = 8
        self.load = Load()
        self.health = Health(self.load, self.limit, SETTINGS)
        self.trials = 0
        """Requests that were sent to it while it was closed, and have not ended."""
        self.trying = False
        self.others = 0
        self.told_until: Instant = 0
        self.trial_until: Instant = 0

    def open(self) -> bool:
        return self.load.closed_until <= self.now and self.load.inflight < self.load.limit

    @rule()
    def ask(self) -> None:
        if not self.open():
            return
        assert self.now >= self.told_until, "it said that it is to be left alone"
        tried = self.health.state in ("closed", "trying")
        if tried:
            assert not self.trying or self.now >= self.trial_until, "one request tries it"
            self.trials, self.trying, self.trial_until = self.trials + 1, True, self.now + SETTINGS.closed_ms_max * MS
        else:
            self.others += 1
        self.load.inflight += 1
        self.health.asked(self.now)
        if tried:
            assert not self.open()

    def ended(self, trial: bool) -> None:
        self.trying = False
        self.load.inflight -= 1
        if trial:
            self.trials -= 1
        else:
            self.others -= 1

    @precondition(lambda self: self.trials or self.others)
    @rule(
        which=st.booleans(),
        how=st.sampled_from(["answered", "answered", "failed", "failed", "overloaded"]),
        wait_ms=st.sampled_from([None, 0, 300, 5_000]),
    )
    def end(self, which: bool, how: str, wait_ms: int | None) -> None:
        trial = bool(self.trials) and (which or not self.others)
        self.ended(trial)
        match how:
            case "answered":
                self.health.answered(self.now, ttft_ms=5.0, duration_ms=9.0, tokens_out=2)
            case "failed":
                self.health.failed(self.now, "broke")
            case _:
                self.health.overloaded(self.now, wait_ms, "429")
                self.told_until = max(self.told_until, self.now + (SETTINGS.overloaded_ms if wait_ms is None else wait_ms) * MS)

    @precondition(lambda self: self.trials)
    @rule()
    def the_client_of_a_trial_leaves(self) -> None:
        self.ended(trial=True)
        self.health.abandoned(self.now)

    @precondition(lambda self: self.others and not self.trials)
    @rule()
    def a_client_leaves(self) -> None:
        self.ended(trial=False)
        self.health.abandoned(self.now)

    @rule(alive=st.booleans())
    def probe(self, alive: bool) -> None:
        if alive:
            self.health.alive(self.now)
        else:
            self.health.failed(self.now, "no answer to a probe")
            self.trying = False

    @rule()
    def eject(self) -> None:
        self.health.eject(self.now, "slow")

    @rule(limit=st.sampled_from([1, 4, 8]))
    def settings_change(self, limit: int) -> None:
        self.limit = limit
        self.health.change(limit, SETTINGS)

    @rule(passed=st.sampled_from([TICK, 5 * TICK, SECOND, 10 * SECOND]))
    def time_passes(self, passed: int) -> None:
        self.now += passed
        self.health.tick(self.now)

    @invariant()
    def what_it_may_take_is_within_its_bounds(self) -> None:
        assert 1 <= self.load.limit <= self.limit
        if self.health.state == "open":
            assert self.load.limit == self.limit

    @invariant()
    def decide_is_told_to_look_twice_where_there_is_something_to_see(self) -> None:
        assert self.load.hindered or self.load.closed_until == 0
        assert (self.load.closed_until == 0) == (self.load.closed_for == "")

    @invariant()
    def it_is_closed_for_no_longer_than_can_be(self) -> None:
        assert self.load.closed_until <= max(self.now + SETTINGS.closed_ms_max * MS, self.told_until)

    def teardown(self) -> None:
        """From wherever it stands: when what runs has ended, time passes and it answers, it is open again with all its room."""
        while self.trials or self.others:
            self.ended(bool(self.trials))
            self.health.abandoned(self.now)
        end = max(self.now + SETTINGS.closed_ms_max * MS, self.told_until) + SETTINGS.slow_start_ms * MS + 2 * TICK
        while self.now < end:
            self.now += TICK
            self.health.tick(self.now)
            if self.open():
                self.health.asked(self.now)
                self.health.answered(self.now, ttft_ms=5.0, duration_ms=9.0, tokens_out=2)
        assert (self.health.state, self.load.limit, self.load.closed_until, self.load.hindered) == ("open", self.limit, 0, False)


TestPool = Pool.TestCase
