"""A worker's end of the socket, and how a worker lives and dies."""

import ctypes
import select
import signal
import socket
import sys
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from headrace.engine.frames import Splitter, frame

PR_SET_PDEATHSIG = 1
CHUNK = 1 << 20

Message = TypeVar("Message")


class Line(Generic[Message]):
    """Messages from and to the parent."""

    def __init__(self, connection: socket.socket, decoder: "msgspec.msgpack.Decoder[Message]") -> None:
        self._connection, self._decoder = connection, decoder
        self._splitter = Splitter()
        self._encoder = msgspec.msgpack.Encoder()

    def first(self) -> tuple[Message, list[Message]]:
        """The first message, and those that came with it."""
        while not (messages := self.receive(wait=True)):
            pass
        return messages[0], messages[1:]

    def receive(self, wait: bool, wake: int | None = None) -> list[Message]:
        """What the parent sent; with `wait`, not before there is something or `wake` is readable. Raises EOFError at its end."""
        watched: list[socket.socket | int] = [self._connection, *([] if wake is None else [wake])]
        ready, _, _ = select.select(watched, [], [], None if wait else 0)
        if self._connection not in ready:
            return []
        received = self._connection.recv(CHUNK)
        if not received:
            raise EOFError
        return [self._decoder.decode(body) for body in self._splitter.feed(received)]

    def send(self, message: object) -> None:
        self._connection.sendall(frame(self._encoder.encode(message)))


def run(serve: Callable[[socket.socket], None]) -> None:
    """Live as a worker on the socket that the command line names. Interrupts and terminations are the parent's to decide: a terminal's
    Ctrl-C reaches the whole group, and what runs has to drain. When the parent is gone, the socket ends and so does the worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":  # elsewhere, the end of the socket is noticed after the step
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            serve(connection)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return  # the parent is gone
