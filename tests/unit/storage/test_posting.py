"""A message to an address that answers as slowly as it can: it takes its time from nobody else."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from headrace.storage.posting import deliver

DRIPS_S = 6.0


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of who sends a letter of an endless head now and then, for a while."""
    ended = threading.Event()

    def drip(door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            caller, _ = door.accept()
            with caller:
                caller.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
                until = time.monotonic() + DRIPS_S
                while time.monotonic() < until and not ended.wait(0.05):
                    caller.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=drip, args=(door,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}/"
        ended.set()
        thread.join()


def test_who_answers_letter_by_letter_is_let_go(dripping: str) -> None:
    began = time.monotonic()
    why = deliver(dripping, {"content-type": "application/json"}, b"{}", within_s=0.5)
    assert time.monotonic() - began < DRIPS_S / 2
    assert why == "it did not answer within 0.5 seconds"
