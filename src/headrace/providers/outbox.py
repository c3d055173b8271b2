"""What is written in one turn of the event loop goes out together.

A write wakes whoever waits at the other end, and waking a process that sleeps costs more than the write. Between two writes of one turn
lies the work for a whole request, long enough for the other end to fall asleep again; one after another, the first wakes it for all.
"""

import asyncio
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary


class Outbox:
    """The writes of one event loop that wait for the end of its turn. Whoever writes past it to the same transport flushes it first."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[asyncio.Transport, Sequence[bytes]]] = []

    def writer(self, transport: asyncio.Transport) -> Callable[[bytes], None]:
        """To write what was read in this very turn: the loop itself writes that together, unless something waits that was said before."""
        write = transport.write

        def send_now(data: bytes) -> None:
            if self._waiting:
                self._waiting.append((transport, (data,)))
            else:
                write(data)

        return send_now

    def send(self, transport: asyncio.Transport, parts: Sequence[bytes]) -> None:
        """Write `parts` before anything else happens in the loop."""
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append((transport, parts))

    def flush(self) -> None:
        """Write now."""
        waiting, self._waiting = self._waiting, []
        for transport, parts in waiting:
            if not transport.is_closing():
                transport.writelines(parts)


_outboxes: "WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox]" = WeakKeyDictionary()


def outbox_of(loop: asyncio.AbstractEventLoop) -> Outbox:
    """The one outbox of a loop."""
    held = _outboxes.get(loop)
    if held is None:
        held = _outboxes[loop] = Outbox(loop)
    return held
