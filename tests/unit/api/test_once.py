"""What becomes of a key that a request names, whoever leaves meanwhile."""

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from headrace.api import Once
from headrace.api.socket import Exchange
from headrace.core.identity import Principal
from headrace.storage import Archive, connect
from headrace.testing.builders import a_principal
from headrace.testing.clock import TurnedClock


class AnyKey:
    def version(self) -> int:
        return 0

    def find(self, secret: str) -> Principal:
        return a_principal(key=secret)


class Asked:
    """One request under a key, and what it was answered with."""

    def __init__(self, secret: str = "ann") -> None:
        self.headers = {b"authorization": f"Bearer {secret}".encode(), b"idempotency-key": b"one"}
        self.body, self.left, self.answers, self.said = b"{}", False, list[int](), b""

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        self.answers.append(status)
        self.said = body


class Slow:
    """A database whose transactions begin when the gate is open."""

    def __init__(self, path: Path, began: threading.Event, gate: threading.Event) -> None:
        self._inner, self._began, self._gate = sqlite3.connect(path, isolation_level=None, check_same_thread=False), began, gate

    def execute(self, sql: str, *values: Any) -> Any:
        if sql.startswith("BEGIN"):
            self._began.set()
            assert self._gate.wait(10)
        return self._inner.execute(sql, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "headrace.sqlite"
    connect(path).close()
    return path


def keys_taken(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as database:
        (count,) = database.execute("SELECT count(*) FROM once").fetchone()
        return int(count)


class Place:
    """A guarded path, with what it does in the background."""

    def __init__(self, archive: Archive, path: str = "/v1/chat/completions") -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self.done, self.began, self.answers = 0, asyncio.Event(), asyncio.Event()
        once = Once(
            archive=archive,
            runner="runner",
            keys=AnyKey(),
            clock=TurnedClock(),
            new_id=lambda kind: f"{kind}{len(self.tasks)}",
            spawn=self._spawn,
            body_bytes_max=1_000,
            log=logging.getLogger("test"),
        )
        self.once, self.ask = once, once.guarded(path, self._handle)

    def _spawn(self, work: Any) -> "asyncio.Task[None]":
        self.tasks.append(asyncio.get_running_loop().create_task(work))
        return self.tasks[-1]

    async def _handle(self, exchange: Exchange) -> None:
        self.done += 1
        self.began.set()
        await self.answers.wait()
        exchange.answer(200, b"", b"said" + str(self.done).encode())


@pytest.fixture
def gates() -> Iterator[tuple[threading.Event, threading.Event]]:
    began, gate = threading.Event(), threading.Event()
    yield began, gate
    gate.set()


async def test_who_leaves_while_his_key_is_taken_leaves_no_key_behind(path: Path, gates: tuple[threading.Event, threading.Event]) -> None:
    """The database is slow, and the key is taken in one of its connections after it was given back in another."""
    began, gate = gates
    archive = Archive(lambda: cast(Any, Slow(path, began, gate)), 2)
    place = Place(archive)
    asking = asyncio.get_running_loop().create_task(place.ask(cast(Exchange, Asked())))
    assert await asyncio.to_thread(began.wait, 10)
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await asyncio.wait(place.tasks, timeout=0.3)
    gate.set()
    await asyncio.wait(place.tasks, timeout=10)
    await asyncio.to_thread(archive.close)
    assert (place.done, keys_taken(path)) == (0, 0), "nothing was done, so who asks again is no stranger"


async def test_what_a_stop_ends_in_the_middle_is_not_done_a_second_time(path: Path) -> None:
    """Its vendor was asked already, and bills it."""
    archive = Archive(lambda: connect(path))
    place, first, again = Place(archive), Asked(), Asked()
    asking = asyncio.get_running_loop().create_task(place.ask(cast(Exchange, first)))
    await place.began.wait()
    await place.once.stop()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    await place.once.vouch()
    await asyncio.wait_for(place.ask(cast(Exchange, again)), 5)
    await asyncio.to_thread(archive.close)
    assert (place.done, first.answers, again.answers) == (1, [], [409])
    assert b"outcome_unknown" in again.said


@pytest.mark.parametrize(
    ("at", "ben_hears"),
    [
        ("/v1/chat/completions", b"said1"),
        ("/v1/projectsx", b"said1"),
        ("/workspace/api/threads", b"said2"),
        ("/a2a", b"said2"),
        ("/v1/organization/invites", b"said2"),
        ("/v1/keys/key_1", b"said2"),
    ],
)
async def test_an_answer_is_its_projects_or_who_asked_for_its(path: Path, at: str, ben_hears: bytes) -> None:
    archive = Archive(lambda: connect(path))
    place, first, again, bens = Place(archive, at), Asked(), Asked(), Asked("ben")
    place.answers.set()
    for asked in (first, again, bens):
        await place.ask(cast(Exchange, asked))
    await asyncio.to_thread(archive.close)
    assert (first.said, again.said, bens.said) == (b"said1", b"said1", ben_hears)


async def test_a_webhooks_secret_is_not_kept_with_the_answer(path: Path) -> None:
    archive = Archive(lambda: connect(path))
    place, first, again = Place(archive, "/workspace/api/webhooks"), Asked(), Asked()
    place.answers.set()
    for asked in (first, again):
        await place.ask(cast(Exchange, asked))
    await asyncio.to_thread(archive.close)
    assert (first.said, again.answers, place.done) == (b"said1", [409], 1)
    assert b"told once" in again.said
