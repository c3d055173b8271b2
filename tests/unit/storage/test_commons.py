"""What workers tell each other: by several processes, in any order, without losing or counting anything twice."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path

import pytest

from headrace.core.errors import SetupError
from headrace.storage import Commons
from headrace.storage.commons import KEYS_MAX, POOLS_MAX, WORKERS_MAX

PROCESS = """
import json, sys
from pathlib import Path
from random import Random
from headrace.metering import Granted, Limiter
from headrace.storage import Commons

path, number, workers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
commons = Commons(path, number, workers)

def limited(limit, tokens, bound, tries):
    limiter = Limiter(requests_per_minute=limit, tokens_per_minute=tokens, now=0)
    shared = commons.key("key_1")
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()
    granted = 0
    for _ in range(tries):
        news = shared.news()
        if news:
            limiter.heard(0, *news)
        if isinstance(limiter.take(0, bound), Granted):
            shared.add(1, bound, 0, limiter.paid_at)
            granted += 1
    return granted

def told(names):
    names = sorted(names)
    Random(number).shuffle(names)
    for name in names:
        commons.pool(name).tell(number + 1, 100 + number)
        commons.key(name).add(number + 1, 10, 1, (0, 0))

for line in sys.stdin:
    what, *more = json.loads(line)
    match what:
        case "tell":
            answer = commons.pool(more[0]).tell(more[1], more[2])
        case "others":
            answer = commons.pool(more[0]).others()
        case "all":
            answer = told(more[0])
        case "limited":
            answer = limited(*more)
        case "reload":
            answer = commons.call_for_reload()
        case "reloaded":
            answer = commons.reload_called()
    print(json.dumps(answer), flush=True)
"""


class Process:
    """A worker in a process of its own, which does what it is told."""

    def __init__(self, path: Path, number: int, workers: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path), str(number), str(workers)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self, *what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def done(self) -> object:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the worker died"
        return json.loads(line)

    def do(self, *what: object) -> object:
        self.begin(*what)
        return self.done()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


class File:
    """The file that the workers share, and those who have it open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open = ExitStack()

    def worker(self, number: int, workers: int) -> Commons:
        commons = Commons(self.path, number, workers)
        self._open.callback(commons.close)
        return commons

    def close(self) -> None:
        self._open.close()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    with closing(File(tmp_path / "commons")) as opened:
        yield opened


@pytest.fixture
def processes(file: File) -> Iterator[list[Process]]:
    with ExitStack() as ending:
        started = [Process(file.path, number, 4) for number in range(3)]
        for process in started:
            ending.callback(process.kill)
        yield started


# ------------------------------------------------------------------------------------------------------------------- one process


def two(file: File) -> tuple[Commons, Commons]:
    return file.worker(0, 2), file.worker(1, 2)


def test_what_one_says_the_other_reads(file: File):
    one, other = two(file)
    one.pool("a").tell(7, 99)
    one.pool("b").tell(1, 0)
    assert (other.pool("a").others(), other.pool("b").others(), other.pool("c").others()) == ((7, 99), (1, 0), (0, 0))
    assert one.pool("a").others() == (0, 0), "what one says oneself is not the others'"
    other.pool("a").tell(2, 150)
    one.pool("a").tell(6, 0)
    assert (one.pool("a").others(), other.pool("a").others()) == ((2, 150), (6, 0))


def test_of_several_others_the_sum_and_the_latest(file: File):
    workers = [file.worker(number, 4) for number in range(4)]
    for number, (inflight, closed_until) in enumerate([(1, 50), (2, 70), (3, 60)]):
        workers[number].pool("a").tell(inflight, closed_until)
    assert workers[3].pool("a").others() == (6, 70)
    assert workers[1].pool("a").others() == (4, 60)


def test_a_single_worker_hears_nobody(file: File):
    alone = file.worker(0, 1)
    alone.pool("a").tell(5, 9)
    assert alone.pool("a").others() == (0, 0)
    alone.key("k").add(1, 1, 0, (0, 0))
    assert alone.key("k").news() is None


def test_what_is_new_is_said_once(file: File):
    one, other = two(file)
    mine, its = one.key("k"), other.key("k")
    assert its.news() is None
    mine.add(1, 500, 0, (0, 0))
    mine.add(1, 300, 0, (0, 0))
    mine.add(0, 0, 450, (0, 0))
    news = its.news()
    assert news is not None
    assert news[:3] == (2, 800, 450)
    assert its.news() is None
    assert mine.news() is None, "what one took oneself is no news"
    its.add(3, 1, 0, (0, 0))
    news = mine.news()
    assert news is not None
    assert news[:3] == (3, 1, 0)


def test_the_cells_of_a_name_are_looked_up_once(file: File):
    commons = file.worker(0, 2)
    assert commons.pool("a") is commons.pool("a")
    assert commons.key("a") is commons.key("a")


def test_a_pool_and_a_key_of_one_name_are_two_things(file: File):
    one, other = two(file)
    one.pool("a").tell(1, 1)
    assert other.key("a").news() is None
    one.key("a").add(5, 5, 5, (0, 0))
    assert other.pool("a").others() == (1, 1)


def rows_of(name: str) -> int:
    return (int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little", signed=True) or 1) % POOLS_MAX


def test_names_that_fall_on_one_row_are_kept_apart(file: File):
    """Three names that hash to the last row: the second and the third go round to the first ones."""
    names = [name for number in range(60_000) if rows_of(name := f"pool-{number}") == POOLS_MAX - 1][:3]
    assert len(names) == 3
    one, other = two(file)
    for inflight, name in enumerate(names, 1):
        one.pool(name).tell(inflight, 0)
    for inflight, name in reversed(list(enumerate(names, 1))):
        assert other.pool(name).others() == (inflight, 0)


def test_more_names_than_there_is_room_for(file: File):
    one, other = two(file)
    for number in range(POOLS_MAX):
        one.pool(f"p{number}").tell(number, 0)
    more = one.pool("one more")
    more.tell(5, 9)
    assert (more.others(), other.pool("one more").others()) == ((0, 0), (0, 0)), "of those each worker knows what it does itself"
    assert one.pool("one more") is more
    assert [other.pool(f"p{number}").others() for number in (0, 77, POOLS_MAX - 1)] == [(0, 0), (77, 0), (POOLS_MAX - 1, 0)]
    assert one.key("a key").news() is None


def test_more_keys_than_there_is_room_for(file: File):
    """A server with so many keys goes on: those that come too late are limited by each worker alone."""
    one, other = two(file)
    for number in range(KEYS_MAX):
        one.key(f"k{number}")
    one.key("one more").add(1, 5, 0, (0, 0))
    assert (one.key("one more").news(), other.key("one more").news()) == (None, None)
    one.key("k7").add(1, 5, 0, (0, 0))
    news = other.key("k7").news()
    assert news is not None
    assert news[:3] == (1, 5, 0)


def test_who_comes_later_finds_what_was_said(file: File):
    first = file.worker(0, 2)
    first.pool("a").tell(7, 99)
    assert file.worker(1, 2).pool("a").others() == (7, 99)
    file.close()
    assert file.worker(1, 2).pool("a").others() == (7, 99)


def test_a_dead_worker_works_on_nothing_and_what_it_took_stays_taken(file: File):
    workers = [file.worker(number, 3) for number in range(3)]
    hears = workers[2].key("k")
    for number in range(2):
        for name in ("a", "b"):
            workers[number].pool(name).tell(number + 1, 50)
        workers[number].key("k").add(1, 10, 0, (0, 0))
    workers[2].bury(1)
    assert [workers[2].pool(name).others() for name in ("a", "b")] == [(1, 50), (1, 50)]
    assert workers[0].pool("a").others() == (0, 0)
    news = hears.news()
    assert news is not None
    assert news[:2] == (2, 20)
    again = file.worker(1, 3)
    again.pool("a").tell(9, 0)
    again.key("k").add(1, 5, 0, (0, 0))
    assert workers[2].pool("a").others() == (10, 50)
    news = hears.news()
    assert news is not None
    assert news[:2] == (1, 5), "counters go on where they were"


def test_a_reload_that_was_called_for_is_heard_once(file: File):
    one, other = two(file)
    assert (one.reload_called(), other.reload_called()) == (False, False)
    one.call_for_reload()
    assert (one.reload_called(), other.reload_called()) == (True, True)
    assert (one.reload_called(), other.reload_called()) == (False, False)
    one.call_for_reload()
    one.call_for_reload()
    assert other.reload_called()
    assert not file.worker(1, 2).reload_called(), "who starts reads the settings anyway"


@pytest.mark.parametrize(("worker", "workers"), [(-1, 2), (2, 2), (0, 0), (0, WORKERS_MAX + 1)])
def test_what_is_no_worker(file: File, worker: int, workers: int):
    with pytest.raises(SetupError, match="at most 64 workers"):
        file.worker(worker, workers)


def test_the_most_workers_there_can_be(file: File):
    last = file.worker(WORKERS_MAX - 1, WORKERS_MAX)
    file.worker(0, WORKERS_MAX).pool("a").tell(1, 2)
    assert last.pool("a").others() == (1, 2)


def test_nobody_else_may_read_it(file: File):
    file.worker(0, 1)
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_large_figures(file: File):
    one, other = two(file)
    hears = other.key("k")
    one.pool("a").tell(2**31, 2**62)
    one.key("k").add(2**40, 2**60, 2**59, (0, 0))
    assert other.pool("a").others() == (2**31, 2**62)
    news = hears.news()
    assert news is not None
    assert news[:3] == (2**40, 2**60, 2**59)


# --------------------------------------------------------------------------------------------------------------- several processes


def test_processes_read_each_other(file: File, processes: list[Process]):
    commons = file.worker(3, 4)
    assert processes[0].do("tell", "a", 5, 111) is None
    processes[1].do("tell", "a", 2, 222)
    assert commons.pool("a").others() == (7, 222)
    assert processes[2].do("others", "a") == [7, 222]
    assert processes[0].do("others", "a") == [2, 222]
    processes[1].kill()
    assert commons.pool("a").others() == (7, 222), "until somebody buries it"
    commons.bury(1)
    assert processes[2].do("others", "a") == [5, 111]
    assert [process.do("reloaded") for process in (processes[0], processes[2])] == [False, False]
    processes[2].do("reload")
    assert [process.do("reloaded") for process in (processes[0], processes[2])] == [True, True]
    assert commons.reload_called()


def test_processes_that_name_the_same_things_at_once_find_the_same_rows(file: File, processes: list[Process]):
    """Names that are new to all, in another order for each, many of them for one row: none is given two rows, and no row two names."""
    crowded = islice((name for number in count() if rows_of(name := f"pool-{number}") < 20), 60)
    names = [*crowded, *(f"other-{number}" for number in range(200))]
    hears = file.worker(3, 4)
    for process in processes:
        process.begin("all", names)
    for process in processes:
        process.done()
    for name in names:
        assert hears.pool(name).others() == (1 + 2 + 3, 102)


LIMITS = [
    # requests a minute, tokens a minute, a request's tokens, how many may pass
    (2_000, None, 1, 2_000),
    (None, 90_000, 30, 3_000),
    (2_500, 100_000, 50, 2_000),
]


@pytest.mark.parametrize(("requests", "tokens", "bound", "most"), LIMITS)
def test_all_together_keep_to_the_limit(
    file: File, processes: list[Process], requests: int | None, tokens: int | None, bound: int, most: int
):
    """Time stands still, and each tries to take all there is: at most one request too many passes for each other worker."""
    for process in processes:
        process.begin("limited", requests, tokens, bound, 4_000)
    for process in processes:
        assert process.done() == "ready"
    for process in processes:
        process.begin("go")
    granted = [process.done() for process in processes]
    assert all(isinstance(each, int) for each in granted)
    total = sum(each for each in granted if isinstance(each, int))
    assert most <= total <= most + len(processes) - 1
