"""The window of a run's browser, through which people see and use it: a unix socket in the run's folder, on which any worker calls.

    worker ── Watch ──► who drives the run ── Scene, Frame, Scene, Frame … ──► until either hangs up
    worker ── Take, Click, Type … ──► who drives the run ── done, or why not ──► once

Nothing of it is written down: no picture, and nothing that a person types. There are pictures only while somebody watches.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

from headrace.core.errors import Conflict, HeadraceError, InvalidRequest
from headrace.sandbox.listener import UnixListener, nearby

SOCKET: Final = "window"
TEXT_CHARS_MAX: Final = 4_000
LINE_BYTES_MAX: Final = 2 << 20
NONE: Final = "No browser is open in this thread: it opens with the first page that the agent opens, and closes a while after."


class Watch(msgspec.Struct, frozen=True, tag="watch"):
    """Show me."""


class Take(msgspec.Struct, frozen=True, tag="take", forbid_unknown_fields=True):
    """The person takes the browser; the agent waits from its next step on."""


class Give(msgspec.Struct, frozen=True, tag="give", forbid_unknown_fields=True):
    """The person gives it back, with the page that is open, which they see to be at `host`."""

    host: str


class Click(msgspec.Struct, frozen=True, tag="click", forbid_unknown_fields=True):
    """At this point of the page's view, in its pixels."""

    x: float
    y: float
    times: Literal[1, 2, 3] = 1


class Scroll(msgspec.Struct, frozen=True, tag="scroll", forbid_unknown_fields=True):
    x: float
    y: float
    right: float
    down: float


class Type(msgspec.Struct, frozen=True, tag="type", forbid_unknown_fields=True):
    """Letters, into what has the focus."""

    text: str


class Press(msgspec.Struct, frozen=True, tag="press", forbid_unknown_fields=True):
    """A key that is no letter, such as Enter or Control+a."""

    key: str


class Choose(msgspec.Struct, frozen=True, tag="choose", forbid_unknown_fields=True):
    """Take one of the list that has the focus: its how many-th, and the words by which the person knows it."""

    number: int
    label: str


class Visit(msgspec.Struct, frozen=True, tag="visit", forbid_unknown_fields=True):
    """Open an address, or `back`."""

    url: str


Act: TypeAlias = Take | Give | Click | Scroll | Type | Press | Choose | Visit


class Mark(msgspec.Struct, frozen=True):
    """Where the agent has done something last: a box of the view, and the how many-th it is."""

    number: int
    what: str
    x: float
    y: float
    width: float
    height: float


class Option(msgspec.Struct, frozen=True):
    """One that can be chosen."""

    label: str
    chosen: bool
    disabled: bool


class Choices(msgspec.Struct, frozen=True):
    """The drop-down list that has the focus: a browser draws it outside of its page's picture. `name` is as the page calls it."""

    name: str
    options: tuple[Option, ...]


class Scene(msgspec.Struct, frozen=True, tag="scene"):
    """What is open, and who has it; and to who has it, the list that has the focus."""

    url: str
    title: str
    held: bool
    mark: Mark | None = None
    choices: Choices | None = None


class Frame(msgspec.Struct, frozen=True, tag="frame"):
    """A picture of the view, as JPEG in base64, and how large the view is in the page's own pixels."""

    jpeg: str
    width: float
    height: float


class NoBrowser(msgspec.Struct, frozen=True, tag="none"):
    """None is open."""


Seen: TypeAlias = Scene | Frame | NoBrowser


class Stage(Protocol):
    """The browser, as people see and use it."""

    def watched(self) -> AsyncGenerator[Scene | Frame]:
        """What changes, as long as anybody iterates."""
        ...

    async def act(self, act: Act) -> None:
        """Raises HeadraceError with a sentence for the person."""
        ...


class _Answer(msgspec.Struct):
    says: str = ""


_asked = msgspec.json.Decoder(Watch | Take | Give | Click | Scroll | Type | Press | Choose | Visit)
act_decoder = msgspec.json.Decoder(Take | Give | Click | Scroll | Type | Press | Choose | Visit)
_answer = msgspec.json.Decoder(_Answer)


class Window:
    """The side of who drives the run."""

    def __init__(self, home: Path, stage: Stage) -> None:
        self._path, self._stage = home / SOCKET, stage
        self._listener = UnixListener(self._serve)

    async def open(self) -> None:
        """Begin to answer; the run's folder is ours alone."""
        await self._listener.start(self._path)

    async def close(self) -> None:
        self._path.unlink(missing_ok=True)
        await self._listener.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = _asked.decode(await reader.readuntil(b"\n"))
            if not isinstance(asked, Watch):
                writer.write(msgspec.json.encode(_Answer(await self._done(asked))) + b"\n")
                await writer.drain()
                return
            async with contextlib.aclosing(self._stage.watched()) as shown:
                async for seen in shown:
                    writer.write(msgspec.json.encode(seen) + b"\n")
                    await writer.drain()
                    if reader.at_eof():
                        return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, msgspec.MsgspecError):
            return  # who called is gone

    async def _done(self, act: Act) -> str:
        try:
            await self._stage.act(act)
        except HeadraceError as error:
            return error.message
        return ""


async def watch(home: Path) -> AsyncGenerator[bytes]:
    """What the browser of this run shows, each a line of JSON; ends when the browser does. Raises Conflict where none is open."""
    reader, writer = await _call(home)
    try:
        writer.write(msgspec.json.encode(Watch()) + b"\n")
        while line := await reader.readline():
            yield line
    except OSError:
        return
    finally:
        writer.close()


async def do(home: Path, act: Act) -> None:
    """Do this in the browser of this run. Raises Conflict where none is open, or it can't be done now."""
    if isinstance(act, Type) and len(act.text) > TEXT_CHARS_MAX:
        raise InvalidRequest(f"At most {TEXT_CHARS_MAX:,} characters are typed at once.", param="text")
    reader, writer = await _call(home)
    try:
        writer.write(msgspec.json.encode(act) + b"\n")
        said = await reader.readline()
    except OSError:
        said = b""
    finally:
        writer.close()
    says = _answer.decode(said).says if said else NONE
    if says:
        raise Conflict(says)


async def _call(home: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with nearby(home / SOCKET) as near:
            caller.connect(near)
        caller.setblocking(False)
        return await asyncio.open_unix_connection(sock=caller, limit=LINE_BYTES_MAX)
    except OSError:
        caller.close()
        raise Conflict(NONE) from None
