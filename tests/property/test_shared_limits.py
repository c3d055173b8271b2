"""A key's limits by several workers: whoever is asked, and whenever, they let pass what one limiter for all would.

Workers here take turns, as processes do but for the few microseconds in which two read before either has written; what can happen in
those is tested with real processes, in `tests/unit/storage/test_commons.py`.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.clock import SECOND
from headrace.core.errors import RateLimited
from headrace.core.stream import Finished, Used
from headrace.core.usage import Usage
from headrace.gateway import Visit
from headrace.metering import Granted, Limiter
from headrace.metering.limits import MINUTE
from headrace.storage import Commons
from headrace.testing.builders import a_pool, a_principal, an_ask
from headrace.testing.clock import TurnedClock
from headrace.testing.scripted import ScriptedListener, ScriptedProvider
from tests.unit.gateway.world import World

WORKERS = 3
WAITS = st.sampled_from([0, 0, 0, 1, 7 * SECOND, 20 * SECOND, 60 * SECOND, 600 * SECOND])


class Asked(NamedTuple):
    """After a while, at one worker, a request of at most so many tokens, of which it uses some; it is done at once, or some turns later."""

    after: int
    worker: int
    bound: int
    used: int
    later: int


ASKED = st.builds(Asked, WAITS, st.integers(0, WORKERS - 1), st.integers(1, 60), st.integers(0, 60), st.integers(0, 3))


@contextmanager
def serving(requests: int | None, tokens: int | None) -> Iterator["Server"]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder, requests, tokens)
        try:
            yield server
        finally:
            for commons in server.commons:
                commons.close()


class Server:
    def __init__(self, folder: str, requests: int | None, tokens: int | None) -> None:
        self.clock = TurnedClock()
        self.provider = ScriptedProvider()
        self.who = a_principal(requests_per_minute=requests, tokens_per_minute=tokens)
        self.commons = [Commons(Path(folder) / "commons", number, WORKERS) for number in range(WORKERS)]
        self.workers = [World(a_pool("a"), scripts={"a": self.provider}, clock=self.clock, neighbours=one) for one in self.commons]

    def ask(self, asked: Asked) -> Visit | None:
        """Admitted, or None."""
        self.clock.turn(ms=asked.after // 10**6)
        try:
            return self.workers[asked.worker].gateway.admit(an_ask(principal=self.who, tokens_in_max=asked.bound, tokens_out_max=0))
        except RateLimited:
            return None

    def done(self, asked: Asked, visit: Visit) -> int:
        """It is answered. Returns what it used."""
        used = min(asked.used, asked.bound)
        self.provider.steps = (Finished("stop"), Used(Usage(used)))
        ask = an_ask(principal=self.who, tokens_in_max=asked.bound, tokens_out_max=0)
        asyncio.run(self.workers[asked.worker].gateway.answer(ask, visit, ScriptedListener()))
        return used


@given(asked=st.lists(ASKED, max_size=40), requests=st.sampled_from([None, 4, 10]), tokens=st.sampled_from([None, 60, 100]))
@example([Asked(0, worker, 1, 1, 0) for worker in (0, 1, 2) * 4], 10, None)
@example([Asked(0, 1, 1, 1, 0), *(Asked(20 * SECOND, 0, 1, 1, 0) for _ in range(30)), Asked(0, 1, 1, 1, 0)], 4, None)
def test_as_long_as_nothing_is_given_back_they_decide_as_one_limiter_would(asked: list[Asked], requests: int | None, tokens: int | None):
    with serving(requests, tokens) as server:
        one = Limiter(requests_per_minute=requests, tokens_per_minute=tokens, now=server.clock.instant())
        for each in asked:
            passed = server.ask(each) is not None
            assert passed == isinstance(one.take(server.clock.instant(), each.bound), Granted)


@given(asked=st.lists(ASKED, max_size=40), limit=st.sampled_from([60, 100]))
def test_over_any_stretch_of_time_no_more_is_used_than_the_limit_and_its_burst(asked: list[Asked], limit: int):
    with serving(None, limit) as server:
        running: list[tuple[Asked, Visit, int, int]] = []
        used: list[tuple[int, int]] = []
        for turn, each in enumerate(asked):
            visit = server.ask(each)
            if visit is not None:
                running.append((each, visit, turn + each.later, len(used)))
                used.append((server.clock.instant(), each.bound))
            for one in [one for one in running if one[2] <= turn]:
                running.remove(one)
                used[one[3]] = used[one[3]][0], server.done(one[0], one[1])
        for first, (start, _) in enumerate(used):
            total = 0
            for moment, tokens in used[first:]:
                total += tokens
                assert total * MINUTE <= limit * MINUTE + (moment - start) * limit


@given(asked=st.lists(ASKED, max_size=25), worker=st.integers(0, WORKERS - 1))
def test_when_nobody_has_asked_for_a_minute_all_is_there_again(asked: list[Asked], worker: int):
    with serving(10, 100) as server:
        for each in asked:
            visit = server.ask(each)
            if visit is not None and each.later:
                server.done(each, visit)
        everything = [server.ask(Asked(60 * SECOND if number == 0 else 0, worker, 10, 10, 0)) is not None for number in range(11)]
        assert everything == [True] * 10 + [False]
