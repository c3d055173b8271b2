"""Commands that the page has begun, and whatever they do: the server that began them goes on."""

import asyncio
import os
import sys
from collections.abc import Coroutine, MutableMapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from starlette.requests import Request

from headrace.core.identity import Principal
from headrace.testing.clock import TurnedClock
from headrace.workspace.making import NewReport, Offered, ReportMaking
from headrace.workspace.visitors import Visitor, Visitors


class Administrators:
    async def of(self, request: Request) -> Visitor:
        return Visitor(principal=cast(Principal, None), key=b"", owner="", admin=True)


class OneCommand:
    def __init__(self, *words: str) -> None:
        self._words = words

    def offered(self) -> Offered:
        return Offered((), (), "", "")

    def line(self, asked: NewReport) -> Sequence[str]:
        return self._words


def asked(method: str) -> Request:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b'{"kind": "simulation"}'}

    return Request({"type": "http", "method": method}, receive)


async def made(folder: Path, *words: str) -> Any:
    """How it stands in the end, and what was raised where it was done: what a server that owns it would end with."""
    begun: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        begun.append(asyncio.create_task(work))
        return begun[-1]

    making = ReportMaking(cast(Visitors, Administrators()), OneCommand(*words), folder, TurnedClock(), spawn, lambda: False, os.getpid())
    await making.making(asked("POST"))
    await asyncio.wait_for(begun[0], 30)
    return msgspec.json.decode((await making.making(asked("GET"))).body)["making"]


SAYS = "import sys; sys.stderr.write(%s)"


@pytest.mark.parametrize(
    ("words", "failure"),
    [
        ((sys.executable, "-c", SAYS % "'Kept as report_1\\n'"), None),
        ((sys.executable, "-c", SAYS % "'No.\\n'" + "; sys.exit(3)"), "No."),
        (("/no/such/command",), "can't be started"),
        ((sys.executable, "-c", SAYS % "'x' * 200_000"), "can't be followed"),
    ],
)
async def test_whatever_a_command_does_is_told_of_it(tmp_path, words, failure):
    stands = await made(tmp_path / "making", *words)
    assert stands["ended"] is not None
    assert (stands["failure"] is None) if failure is None else (failure in stands["failure"])


async def test_where_nothing_can_be_written_any_more_nothing_ends_but_the_command(tmp_path):
    folder = tmp_path / "making"
    full = "import os, sys; os.mkdir(sys.argv[1]); sys.stderr.write('1 %, 5 events\\n')"
    stands = await made(folder, sys.executable, "-c", full, str(folder / ".stands.json"))
    assert stands["failure"] == "Its server was killed.", "nobody could write why"
