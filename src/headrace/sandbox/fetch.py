"""One page of the web, fetched by us for an agent: to an address that was checked, without following it anywhere, bounded, as text.

A redirection is not followed but told: where it leads is a new address, which the rules have to judge like any other.
"""

import asyncio
import http.client
import socket
import ssl
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlsplit

import msgspec

from headrace.core.errors import SandboxRefused, UpstreamFailed
from headrace.sandbox.egress import Lookup, Reach, checked_address, look_up

BYTES_MAX: Final = 2_000_000
CHARS_MAX: Final = 60_000
SECONDS_MAX: Final = 20
_DROPPED: Final = frozenset(("script", "style", "noscript", "template", "svg", "head"))
_BREAKS: Final = frozenset(("p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "pre", "table"))


class Page(msgspec.Struct, frozen=True):
    """What came back. `leads_to` is where a redirection points."""

    status: int
    text: str
    leads_to: str | None = None


async def fetch(url: str, reach: Reach, lookup: Lookup = look_up) -> Page:
    """Read the page at `url`. Raises SandboxRefused, or UpstreamFailed when nothing readable comes back."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SandboxRefused(f"{url} is no address of the web.")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = await checked_address(parts.hostname, port, reach, lookup)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return await asyncio.to_thread(_read, parts.scheme, parts.hostname, address, port, target)


def _read(scheme: str, host: str, address: str, port: int, target: str) -> Page:
    connection = http.client.HTTPConnection(host, port, timeout=SECONDS_MAX)
    try:
        plain = socket.create_connection((address, port), SECONDS_MAX)
        connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if scheme == "https" else plain
        connection.request("GET", target, headers={"user-agent": "headrace", "accept": "text/html, text/plain, */*;q=0.1"})
        answer = connection.getresponse()
        body = answer.read(BYTES_MAX)
    except (OSError, http.client.HTTPException) as wrong:
        raise UpstreamFailed(f"{host} did not answer: {wrong}") from wrong
    finally:
        connection.close()
    leads_to = answer.headers.get("location") if 300 <= answer.status < 400 else None
    kind = answer.headers.get_content_type()
    text = body.decode(answer.headers.get_content_charset() or "utf-8", "replace") if kind.startswith("text/") or "json" in kind else ""
    return Page(answer.status, (readable(text) if kind == "text/html" else text)[:CHARS_MAX], leads_to)


def readable(html: str) -> str:
    """The words of a page, without what is not shown."""
    reader = _Words()
    reader.feed(html)
    lines = (" ".join(line.split()) for line in "".join(reader.said).splitlines())
    return "\n".join(line for line in lines if line)


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _DROPPED
        if tag in _BREAKS:
            self.said.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _DROPPED and self._hidden > 0
        if tag in _BREAKS:
            self.said.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.said.append(data)
