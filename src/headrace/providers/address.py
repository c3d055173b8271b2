"""Where an upstream listens, as its URL says: `https://host:port/path`, `http://…`, or `unix:/path/to.sock:/path` on this machine."""

from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

Scheme: TypeAlias = Literal["http", "https", "unix"]


class Address(msgspec.Struct, frozen=True):
    """`host` is the socket's path where the scheme is `unix`. `path` stands before every request's own and has no slash at its end."""

    scheme: Scheme
    host: str
    port: int
    path: str
    authority: str
    """What requests name as their host."""

    @property
    def origin(self) -> str:
        """The address without its path, as people read it in messages."""
        return f"unix:{self.host}" if self.scheme == "unix" else f"{self.scheme}://{self.authority}"


def read_address(url: str) -> Address:
    """Raises ValueError that says what the URL lacks; a password in it is not repeated."""
    if url.startswith("unix:/"):
        socket, _, path = url.removeprefix("unix:").partition(":")
        return Address("unix", socket, 0, path.rstrip("/"), "localhost")
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as wrong:
        raise ValueError(f"{_shown(url)!r} is not an endpoint: {wrong}") from None
    if "@" in split.netloc:
        raise ValueError(f"{_shown(url)!r} is not an endpoint: a name and a password do not belong into an address; set api_key_env")
    if split.scheme not in ("http", "https") or not split.hostname:
        raise ValueError(
            f"{_shown(url)!r} is not an endpoint: it must start with http:// or https:// and name a host, or with unix:/ and name a socket"
        )
    if split.query or split.fragment:
        raise ValueError(f"{_shown(url)!r} is not an endpoint: what follows its path is not sent; leave it out")
    scheme: Scheme = "https" if split.scheme == "https" else "http"
    return Address(scheme, split.hostname, port or (443 if scheme == "https" else 80), split.path.rstrip("/"), split.netloc)


def _shown(url: str) -> str:
    """`url` without what may be a password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def bracketed(host: str) -> str:
    """`host` as it stands before a port."""
    return f"[{host}]" if ":" in host else host
