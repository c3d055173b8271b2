"""One call over HTTP to where the person said: no redirection is followed, and of the answer no more than a bound is read."""

import contextlib
import http.client
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from headrace.core.errors import UpstreamFailed, UpstreamUnreachable

SECONDS_MAX: Final = 30


class Called(msgspec.Struct, frozen=True):
    status: int
    body: bytes


def call(url: str, headers: Mapping[str, str], body: bytes | None, bytes_max: int) -> Called:
    """GET, or with a body POST. In a thread. Raises UpstreamUnreachable where nothing was said, UpstreamFailed where that is unknown or the
    answer is too long."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    with contextlib.closing(kind(host, parts.port, timeout=SECONDS_MAX)) as connection:
        try:
            connection.connect()
        except OSError as wrong:
            raise UpstreamUnreachable(f"{host} can't be reached: {wrong}") from wrong
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET" if body is None else "POST", target, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read(bytes_max + 1)
        except (OSError, http.client.HTTPException) as wrong:
            raise UpstreamFailed(f"{host} did not answer ({type(wrong).__name__}), so it is not known whether it has heard.") from wrong
    if len(content) > bytes_max:
        raise UpstreamFailed(f"{host} answers with more than {bytes_max:,} bytes.")
    return Called(answer.status, content)
