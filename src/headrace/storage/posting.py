"""A message, told once to an address. Who tells it again until it is heard, and how often, is its store's affair."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

TIMEOUT_S = 10.0
WITHIN_S = 20.0
"""So long it takes in all, whatever comes letter by letter: others wait for their turn."""


def deliver(url: str, headers: Mapping[str, str], body: bytes, address: str | None = None, *, within_s: float = WITHIN_S) -> str | None:
    """Tell it. Returns why it was not heard; None: it was. `address` is the one of the host that was looked up and may be reached; without
    it, whichever the host has. A redirection is not followed: it could lead anywhere, and says that the address is not the right one."""
    parts, late = urlsplit(url), threading.Event()
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        with contextlib.closing(HTTPConnection(host, port, timeout=TIMEOUT_S)) as connection:
            plain = socket.create_connection((address or host, port), TIMEOUT_S)
            connection.sock = plain
            with _ended(connection, within_s, late):
                if parts.scheme == "https":
                    context = ssl.create_default_context()
                    secured = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
                    connection.sock = secured
                    secured.do_handshake()
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("POST", target, body, dict(headers))
                status = connection.getresponse().status
        failure = None if 200 <= status < 300 else f"it answered with {status}"
    except (HTTPException, OSError, ValueError) as why:
        failure = str(why) or type(why).__name__
    return f"it did not answer within {within_s:g} seconds" if late.is_set() else failure


@contextlib.contextmanager
def _ended(connection: HTTPConnection, within_s: float, late: threading.Event) -> Iterator[None]:
    """End the connection where it lasts for longer than that."""

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(within_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
