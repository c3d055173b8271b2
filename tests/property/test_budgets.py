"""Budgets over several workers and one store: whatever is lost, doubled, late, killed or down, nothing is overspent and nothing vanishes.

The workers are purses as the gateway has them, the store decides as `metering.leases` does, and between them lies a network that this
machine plays. Each worker has a usage log, from which the store books its end after a crash.
"""

import os
from collections.abc import Callable
from datetime import UTC
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headrace.core.clock import SECOND
from headrace.metering import AccountOpening, Hold, Lease, LeaseAccount, Said, Slice, Told, close, correct, lend, reserve, span_of

BUDGETS = (("org", 1_000), ("project", 700), ("user", 300))
START = 1_790_800_000 * SECOND
ZONE = ZoneInfo("Europe/Berlin")
SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
PICK = st.integers(0, 2**16)


class Beat:
    """A message on its way: how slices stood at a place of the log."""

    def __init__(self, mark: int, saids: list[tuple[str, Said]]) -> None:
        self.mark, self.saids = mark, saids


class Request:
    def __init__(self, names: tuple[str, ...], hold: Hold, bound: int) -> None:
        self.names, self.hold, self.bound, self.over, self.attempted = names, hold, bound, False, False


class Worker:
    """A purse, its log, and what it believes that the store has heard."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.slices: dict[str, Slice] = {}
        self.requests: list[Request] = []
        self.log: list[tuple[tuple[str, ...], int]] = []

    def slice(self, name: str, limit: int) -> Slice:
        if name not in self.slices:
            self.slices[name] = Slice(AccountOpening(name, name, "", "", 0, limit, "hard", ()))
            self.slices[name].account = 0
        return self.slices[name]

    def beat(self, needed: list[str]) -> Beat:
        told = [(name, one.say()) for name, one in self.slices.items() if one.touched or one.free or name in needed]
        return Beat(len(self.log), told)


class World(RuleBasedStateMachine):
    """Everybody at once."""

    @initialize(workers=st.integers(1, 4))
    def begin(self, workers: int) -> None:
        self.now = START
        self.accounts: dict[str, LeaseAccount] = {}
        self.marks: dict[int, int] = {}
        self.ended: set[int] = set()
        self.spent: dict[str, int] = {}
        self.unknown: list[tuple[tuple[str, ...], int]] = []
        self.ghosts: list[tuple[int, Beat]] = []
        self.answers: list[tuple[int, list[tuple[str, Told]]]] = []
        self.down = False
        self.epochs = 0
        self.workers: list[Worker] = []
        for _ in range(workers):
            self.workers.append(self._worker())

    def _worker(self) -> Worker:
        self.epochs += 1
        self.marks[self.epochs] = 0
        return Worker(self.epochs)

    def _names(self, count: int) -> tuple[str, ...]:
        """The accounts of this month; the last is a total."""
        month = span_of(self.now, "month", ZONE).name
        return tuple(f"{name}@{month if name != 'user' else ''}" for name, _ in BUDGETS[:count])

    def _limit(self, name: str) -> int:
        return dict(BUDGETS)[name.partition("@")[0]]

    # What workers do.

    @rule(pick=PICK, count=st.integers(1, 3), bound=st.integers(1, 400), asks=st.booleans())
    def admit(self, pick: int, count: int, bound: int, asks: bool) -> None:
        worker = self.workers[pick % len(self.workers)]
        names = self._names(count)
        slices = tuple(worker.slice(name, self._limit(name)) for name in names)
        hold = reserve(slices, bound)
        if hold is None and asks:
            for one in slices:
                one.needs.append(bound)
            self._converse(worker, list(names))
            for one in slices:
                one.needs.remove(bound)
            hold = reserve(slices, bound)
        if hold is not None:
            worker.requests.append(Request(names, hold, bound))

    @precondition(lambda self: any(worker.requests for worker in self.workers))
    @rule(pick=PICK, share=st.integers(0, 100), again=st.booleans())
    def attempt_ends(self, pick: int, share: int, again: bool) -> None:
        worker, request = self._request(pick)
        if not request.attempted:
            request.hold.open += 1
            request.attempted = True
        cost = request.hold.left_pico * share // 100
        worker.log.append((request.names, cost))
        request.hold.pay(cost)
        request.hold.end()
        for name in request.names:
            self.spent[name] = self.spent.get(name, 0) + cost
        request.attempted = False
        if not again:
            self._over(worker, request)

    @precondition(lambda self: any(worker.requests for worker in self.workers))
    @rule(pick=PICK)
    def attempt_begins(self, pick: int) -> None:
        _, request = self._request(pick)
        if not request.attempted:
            request.hold.open += 1
            request.attempted = True

    @precondition(lambda self: any(worker.requests for worker in self.workers))
    @rule(pick=PICK)
    def hedge(self, pick: int) -> None:
        _, request = self._request(pick)
        if request.hold.again(request.bound):
            request.bound *= 2

    @precondition(lambda self: any(worker.requests for worker in self.workers))
    @rule(pick=PICK)
    def give_up(self, pick: int) -> None:
        worker, request = self._request(pick)
        if not request.attempted:
            self._over(worker, request)

    def _request(self, pick: int) -> tuple[Worker, Request]:
        found = [(worker, request) for worker in self.workers for request in worker.requests]
        return found[pick % len(found)]

    def _over(self, worker: Worker, request: Request) -> None:
        request.hold.release()
        worker.requests.remove(request)

    # What is told, and what becomes of it.

    @rule(pick=PICK)
    def beat(self, pick: int) -> None:
        self._converse(self.workers[pick % len(self.workers)], [])

    def _converse(self, worker: Worker, needed: list[str]) -> None:
        beat = worker.beat(needed)
        if self.down:
            for one in worker.slices.values():
                one.touched = True
            self.ghosts.append((worker.epoch, beat))
            return
        for name, told in self._hear(worker.epoch, beat):
            worker.slices[name].hear(told)

    def _hear(self, epoch: int, beat: Beat) -> list[tuple[str, Told]]:
        if epoch in self.ended:
            return []  # fenced
        self.marks[epoch] = max(self.marks[epoch], beat.mark)
        return [(name, lend(self._account(name), epoch, said)) for name, said in beat.saids]

    def _account(self, name: str) -> LeaseAccount:
        return self.accounts.setdefault(name, LeaseAccount(limit=self._limit(name), leases={}))

    @rule(pick=PICK)
    def an_answer_is_lost(self, pick: int) -> None:
        """The store has heard, and the worker does not know it."""
        worker = self.workers[pick % len(self.workers)]
        beat = worker.beat([])
        if not self.down:
            self.answers.append((worker.epoch, self._hear(worker.epoch, beat)))
        for one in worker.slices.values():
            one.touched = True

    @precondition(lambda self: self.answers)
    @rule(pick=PICK)
    def it_comes_late(self, pick: int) -> None:
        epoch, answer = self.answers[pick % len(self.answers)]
        for worker in self.workers:
            if worker.epoch == epoch:
                for name, told in answer:
                    worker.slices[name].hear(told)

    @precondition(lambda self: self.ghosts)
    @rule(pick=PICK)
    def a_message_comes_late_or_twice(self, pick: int) -> None:
        epoch, beat = self.ghosts[pick % len(self.ghosts)]
        self._hear(epoch, beat)

    @rule()
    def the_store_goes_down_or_comes_back(self) -> None:
        self.down = not self.down

    # What goes wrong.

    @rule(pick=PICK)
    def a_worker_is_killed(self, pick: int) -> None:
        """Its end is booked from its log: what it had not told it paid, and what has no end is held at its bound."""
        at = pick % len(self.workers)
        worker = self.workers[at]
        self.workers[at] = self._worker()
        paid: dict[str, int] = {}
        for names, cost in worker.log[self.marks[worker.epoch] :]:
            for name in names:
                paid[name] = paid.get(name, 0) + cost
        held: dict[str, int] = {}
        for request in worker.requests:
            if request.attempted:
                self.unknown.append((request.names, request.hold.left_pico))
                for name in request.names:
                    held[name] = held.get(name, 0) + request.hold.left_pico
        self.ended.add(worker.epoch)
        for name, account in self.accounts.items():
            lease = account.leases.get(worker.epoch, Lease())
            close(account, worker.epoch, lease.settled + paid.get(name, 0), held.get(name, 0))
        for name, pico in held.items():
            self.spent[name] = self.spent.get(name, 0) + pico

    @precondition(lambda self: self.unknown)
    @rule(pick=PICK, share=st.integers(0, 100))
    def the_truth_comes(self, pick: int, share: int) -> None:
        names, booked = self.unknown.pop(pick % len(self.unknown))
        truth = booked * share // 100
        for name in names:
            correct(self.accounts[name], booked, truth)
            self.spent[name] += truth - booked

    @rule(seconds=st.sampled_from([1, 3_600, 86_400, 31 * 86_400, -600, -86_400]))
    def time_passes(self, seconds: int) -> None:
        """Months end while streams run, and clocks are set back."""
        self.now += seconds * SECOND

    # What holds.

    @invariant()
    def nothing_is_overspent(self) -> None:
        """Not even if everything that runs comes to its bound."""
        for name, account in self.accounts.items():
            at_work = sum(worker.slices[name].held for worker in self.workers if name in worker.slices)
            assert self.spent.get(name, 0) + at_work <= account.limit, name

    @invariant()
    def nothing_vanishes(self) -> None:
        for name, account in self.accounts.items():
            assert account.available >= 0
            assert account.limit == account.available + account.leased + account.spent
            for worker in self.workers:
                one, lease = worker.slices.get(name), account.leases.get(worker.epoch)
                if one is None:
                    continue
                assert one.is_whole
                assert one.free >= 0
                if lease is not None:
                    assert lease.granted >= one.granted, "what a worker has was granted"
                    assert lease.returned <= one.returned, "what came back was given back"
                    assert lease.settled <= one.settled

    @invariant()
    def what_is_held_is_what_requests_hold(self) -> None:
        for worker in self.workers:
            for name, one in worker.slices.items():
                assert one.held == sum(request.hold.left_pico for request in worker.requests if name in request.names)

    def teardown(self) -> None:
        """When all is quiet and everybody was heard, all that was not spent is there again."""
        if not hasattr(self, "workers"):
            return
        self.down = False
        for worker in self.workers:
            for request in tuple(worker.requests):
                if request.attempted:
                    request.hold.end()
                self._over(worker, request)
            self._converse(worker, [])
            beat = Beat(len(worker.log), [(name, one.say(idle=True)) for name, one in worker.slices.items()])
            self._hear(worker.epoch, beat)
            beat = Beat(len(worker.log), [(name, one.say(idle=True)) for name, one in worker.slices.items()])
            for name, told in self._hear(worker.epoch, beat):
                worker.slices[name].hear(told)
        for worker in self.workers:
            answer = self._hear(worker.epoch, Beat(len(worker.log), [(name, one.say(idle=True)) for name, one in worker.slices.items()]))
            for name, told in answer:
                worker.slices[name].hear(told)
            self._hear(worker.epoch, Beat(len(worker.log), [(name, one.say(idle=True)) for name, one in worker.slices.items()]))
        for name, account in self.accounts.items():
            assert account.available == account.limit - self.spent.get(name, 0), name


World.TestCase.settings = settings(max_examples=2_000 if SOAK else 60, stateful_step_count=100, deadline=None)
TestWorld = World.TestCase


@pytest.mark.parametrize("seed", range(1_000, 1_000 + (200 if SOAK else 3)))
@pytest.mark.timeout(600)
def test_a_long_life(seed: int):
    """The same moves, drawn by a seed that the test's name tells, for as long as a machine of hypothesis can't."""
    rng, world = Random(seed), World()
    world.begin(rng.randint(1, 4))

    def pick() -> int:
        return rng.randrange(2**16)

    moves: list[tuple[int, Callable[[], object]]] = [
        (8, lambda: world.admit(pick(), rng.randint(1, 3), rng.choice((1, 7, 40, 200, 400)), rng.random() < 0.7)),
        (5, lambda: busy() and world.attempt_begins(pick())),
        (7, lambda: busy() and world.attempt_ends(pick(), rng.choice((0, 1, 5, 30, 100)), rng.random() < 0.2)),
        (1, lambda: busy() and world.hedge(pick())),
        (1, lambda: busy() and world.give_up(pick())),
        (6, lambda: world.beat(pick())),
        (2, lambda: world.an_answer_is_lost(pick())),
        (2, lambda: world.answers and world.it_comes_late(pick())),
        (2, lambda: world.ghosts and world.a_message_comes_late_or_twice(pick())),
        (1, lambda: rng.random() < 0.2 and world.the_store_goes_down_or_comes_back()),
        (1, lambda: rng.random() < 0.3 and world.a_worker_is_killed(pick())),
        (1, lambda: world.unknown and world.the_truth_comes(pick(), rng.randint(0, 100))),
        (1, lambda: rng.random() < 0.2 and world.time_passes(rng.choice((3_600, 86_400, 10 * 86_400, 31 * 86_400, -86_400)))),
    ]

    def busy() -> bool:
        return any(worker.requests for worker in world.workers)

    kinds = [move for weight, move in moves for _ in range(weight)]
    for step in range(20_000 if SOAK else 4_000):
        rng.choice(kinds)()
        if step % 16 == 0:
            world.nothing_is_overspent()
            world.nothing_vanishes()
            world.what_is_held_is_what_requests_hold()
            del world.answers[:-20], world.ghosts[:-20]
    world.teardown()
    assert sum(world.spent.values()), "nothing was ever bought"


@given(
    limit=st.integers(1, 10**15),
    holders=st.integers(1, 8),
    needs=st.lists(st.tuples(st.integers(0, 7), st.integers(1, 10**14)), max_size=30),
)
def test_of_what_is_neither_spent_nor_held_no_more_than_a_twentieth_lies_free(limit: int, holders: int, needs: list[tuple[int, int]]):
    """Right after a request was granted, and all have heard their cushion."""
    account = LeaseAccount(limit=limit, leases={})
    slices = [Slice(AccountOpening("a", "a", "", "", 0, limit, "hard", ())) for _ in range(holders)]
    for one in slices:
        one.account = 0
    for at, bound in needs:
        one = slices[at % holders]
        hold = reserve((one,), bound)
        for _ in range(2):
            if hold is None:
                one.needs.append(bound)
                one.hear(lend(account, at % holders, one.say()))
                one.needs.clear()
                hold = reserve((one,), bound)
            if one.short:  # the others are called upon to give back what lies free there
                for number, each in enumerate(slices):
                    if each is not one:
                        each.cushion = 0
                        each.hear(lend(account, number, each.say()))
        for _ in range(3):
            for number, each in enumerate(slices):
                each.hear(lend(account, number, each.say()))
        unspent = limit - sum(each.held + each.settled for each in slices)
        free = sum(each.free for each in slices)
        assert free * 20 <= unspent, "stranded"
        if hold is None:
            assert bound > account.available, "who is refused could not have been served"


@given(
    moment=st.integers(0, 4 * 10**18), zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Apia"])
)
def test_periods_follow_each_other_without_a_gap(moment: int, zone: str):
    where = UTC if zone == "UTC" else ZoneInfo(zone)
    for period in ("day", "month"):
        span = span_of(moment, period, where)
        assert span.holds(moment)
        assert not span.holds(span.end)
        after = span_of(span.end, period, where)
        assert after.start == span.end
        assert after.name > span.name
