"""A signed message, told once to an address. Who tells it again until it is heard, and how often, is its store's affair."""

import contextlib
import socket
import ssl
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from headrace.core.clock import SECOND, Moment
from headrace.wire.hooks import headers

TIMEOUT_S = 10.0


def deliver(id: str, body: bytes, url: str, secret: str, now: Moment, address: str | None = None) -> str | None:
    """Tell it. Returns why it was not heard; None: it was. `address` is the one of the host that was looked up and may be reached; without
    it, whichever the host has. A redirection is not followed: it could lead anywhere, and says that the address is not the right one."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        with contextlib.closing(HTTPConnection(host, port, timeout=TIMEOUT_S)) as connection:
            plain = socket.create_connection((address or host, port), TIMEOUT_S)
            connection.sock = plain
            if parts.scheme == "https":
                connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", target, body, headers(secret, id, now // SECOND, body))
            status = connection.getresponse().status
    except (HTTPException, OSError, ValueError) as why:
        return str(why) or type(why).__name__
    return None if 200 <= status < 300 else f"it answered with {status}"
