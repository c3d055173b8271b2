"""What the workers of one server tell each other, in one small file that each has mapped into its memory.

Every cell has one writer, so that nobody waits for a lock: a worker writes what it has taken and what it works on, and reads the cells of
the others when it decides. Names find their row by hashing; only a name that is new takes a lock, once. Counters of keys only grow. A
worker that reads while another writes sees the value before or after, and what it misses it sees a moment later; so two workers may both
take what was left for one in the few microseconds in which neither has read the other, and never more than that.
"""

import fcntl
import mmap
import os
from hashlib import blake2b
from pathlib import Path
from typing import Final

from headrace.core.errors import SetupError

WORKERS_MAX: Final = 64
POOLS_MAX: Final = 2_048
KEYS_MAX: Final = 16_384
CELL: Final = 8
HEADER: Final = 8  # cells: how often the settings were read again, and room for more
POOL_CELLS: Final = 2  # in flight, closed until
KEY_CELLS: Final = 7  # requests, tokens taken, tokens given back; requests and tokens known of, and when all of these are paid


class Commons:
    """One worker's view. `worker` counts from 0; all of one server give the same number of `workers`."""

    def __init__(self, path: Path, worker: int, workers: int) -> None:
        if not 0 <= worker < workers <= WORKERS_MAX:
            raise SetupError(f"a server has at most {WORKERS_MAX} workers, not {workers}")
        self._worker, self._workers = worker, workers
        self._pool_row, self._key_row = 1 + POOL_CELLS * workers, 1 + KEY_CELLS * workers
        self._pools_at = HEADER
        self._keys_at = self._pools_at + POOLS_MAX * self._pool_row
        size = CELL * (self._keys_at + KEYS_MAX * self._key_row)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._file).st_size < size:
            os.ftruncate(self._file, size)
        self._map = mmap.mmap(self._file, size)
        self._cells = memoryview(self._map).cast("q")
        self._reloads = self._cells[0]
        self._pools: dict[str, PoolCells] = {}
        self._keys: dict[str, KeyCells] = {}

    def pool(self, name: str) -> "PoolCells":
        """The cells of a pool, by its name."""
        held = self._pools.get(name)
        if held is None:
            row = self._row(name, self._pools_at, self._pool_row, POOLS_MAX)
            held = PoolCells(_own_row(POOL_CELLS), 0, 0, 1) if row is None else PoolCells(self._cells, row, self._worker, self._workers)
            self._pools[name] = held
        return held

    def key(self, name: str) -> "KeyCells":
        """The cells of a key, by its id."""
        held = self._keys.get(name)
        if held is None:
            row = self._row(name, self._keys_at, self._key_row, KEYS_MAX)
            held = KeyCells(_own_row(KEY_CELLS), 0, 0, 1) if row is None else KeyCells(self._cells, row, self._worker, self._workers)
            self._keys[name] = held
        return held

    def call_for_reload(self) -> None:
        """Tell all workers to read the settings again."""
        self._cells[0] += 1

    def reload_called(self) -> bool:
        """Whether somebody has, since this was asked last."""
        seen, self._reloads = self._reloads, self._cells[0]
        return seen != self._reloads

    def bury(self, worker: int) -> None:
        """A worker is dead: it works on nothing. What its keys have taken stays taken."""
        for index in range(POOLS_MAX):
            row = self._pools_at + index * self._pool_row
            if self._cells[row]:
                self._cells[row + 1 + POOL_CELLS * worker] = self._cells[row + 2 + POOL_CELLS * worker] = 0

    def close(self) -> None:
        self._cells.release()
        self._map.close()
        os.close(self._file)

    def _row(self, name: str, start: int, width: int, rows: int) -> int | None:
        """Where the row of `name` begins; takes a free one when there is none yet. None: all are taken, and each worker is on its own."""
        sought = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little", signed=True) or 1
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            for step in range(rows):
                row = start + ((sought + step) % rows) * width
                if self._cells[row] == sought:
                    return row
                if not self._cells[row]:
                    self._cells[row] = sought
                    return row
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return None


def _own_row(cells: int) -> memoryview:
    """A row that nobody else reads."""
    return memoryview(bytearray(CELL * (1 + cells))).cast("q")


class PoolCells:
    """How many requests each worker has at one pool, and until when each holds it for closed."""

    __slots__ = ("_cells", "_mine", "_others")

    def __init__(self, cells: memoryview, row: int, worker: int, workers: int) -> None:
        self._cells = cells
        self._mine = row + 1 + POOL_CELLS * worker
        self._others = [row + 1 + POOL_CELLS * other for other in range(workers) if other != worker]

    def tell(self, inflight: int, closed_until: int) -> None:
        self._cells[self._mine], self._cells[self._mine + 1] = inflight, closed_until

    def others(self) -> tuple[int, int]:
        """What the others have in flight together, and the latest moment until which one holds the pool for closed."""
        cells = self._cells
        return sum([cells[at] for at in self._others]), max([cells[at + 1] for at in self._others], default=0)


class KeyCells:
    """What each worker has taken of one key's limits, in numbers that only grow; and how each sees the whole: what it knows of, and when
    all that is paid. Who reads that knows from the numbers what is missing in it."""

    __slots__ = ("_cells", "_earlier", "_mine", "_others", "_seen")

    def __init__(self, cells: memoryview, row: int, worker: int, workers: int) -> None:
        self._cells = cells
        self._mine = row + 1 + KEY_CELLS * worker
        self._others = [row + 1 + KEY_CELLS * other for other in range(workers) if other != worker]
        self._seen = NOTHING
        self._earlier = cells[self._mine], cells[self._mine + 1], cells[self._mine + 2]

    def add(self, requests: int, tokens: int, given_back: int, paid_at: tuple[int, int]) -> None:
        """This worker has taken so much more, or given so much back. By what it knows, all that was taken is paid at these instants."""
        cells, mine, seen = self._cells, self._mine, self._seen
        cells[mine + 5], cells[mine + 6] = paid_at  # first: whoever reads what is known must find instants that reckon with it
        cells[mine + 3], cells[mine + 4] = seen[0] + cells[mine] + requests, seen[1] + cells[mine + 1] + tokens
        cells[mine] += requests
        cells[mine + 1] += tokens
        cells[mine + 2] += given_back

    def news(self) -> tuple[int, int, int, tuple[int, int], tuple[int, int]] | None:
        """What the others have taken and given back since this was asked last: at first since the server began, and with what a worker
        before this one in its place has taken. Then of the one who knows most: when all that is paid, and how many requests and tokens it
        does not know of. None: nothing is new."""
        cells, others, before, earlier, mine = self._cells, self._others, self._seen, self._earlier, self._mine
        sums = sum([cells[at] for at in others]), sum([cells[at + 1] for at in others]), sum([cells[at + 2] for at in others])
        if sums == before and earlier == NOTHING:
            return None
        self._seen, self._earlier = sums, NOTHING
        if earlier != NOTHING:
            others = [*others, mine]
            before = before[0] - earlier[0], before[1] - earlier[1], before[2] - earlier[2]
        most = max(others, key=lambda at: cells[at + 3])
        unknown = max(0, sums[0] + cells[mine] - cells[most + 3]), max(0, sums[1] + cells[mine + 1] - cells[most + 4])
        return sums[0] - before[0], sums[1] - before[1], sums[2] - before[2], (cells[most + 5], cells[most + 6]), unknown


NOTHING: Final = (0, 0, 0)
