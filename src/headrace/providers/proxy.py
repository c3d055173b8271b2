"""The proxies that the environment names: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in capitals or not.

Nothing here reads the environment: it is an argument. Where the well-known programs differ, this is what holds: what is written small
goes first; an empty variable is not set; a name in NO_PROXY holds for the names below it too, with or without a dot before it; this machine
itself is never reached through a proxy.
"""

from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Literal
from urllib.parse import unquote, urlsplit

import msgspec

from headrace.providers.address import Address, bracketed, read_address


class Proxy(msgspec.Struct, frozen=True):
    """A proxy that speaks HTTP, or HTTP over TLS (`https`)."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    authorization: str | None = None
    """The value of `proxy-authorization`: a secret."""

    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self})"


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that leads to `url`; None: go there directly. Raises ValueError when a variable names no proxy that can be used."""
    address = read_address(url)
    if address.scheme == "unix" or _is_here(address.host) or _passes_by(address, _variable(environ, "no_proxy")[1]):
        return None
    for wanted in (f"{address.scheme}_proxy", "all_proxy"):
        name, value = _variable(environ, wanted)
        if value:
            return _read_proxy(name, value)
    return None


def _variable(environ: Mapping[str, str], small: str) -> tuple[str, str]:
    """Its name as it is set, and its value."""
    name = small if environ.get(small, "").strip() else small.upper()
    return name, environ.get(name, "").strip()


def _read_proxy(name: str, value: str) -> Proxy:
    try:
        split = urlsplit(value if "://" in value else f"http://{value}")
        host, port = split.hostname, split.port
    except ValueError as wrong:
        raise ValueError(f"the environment variable {name} names no proxy: {wrong}") from None
    if split.scheme not in ("http", "https"):
        raise ValueError(
            f"the environment variable {name} names a proxy of kind {split.scheme}://, and only http:// and https:// are known"
        )
    if not host:
        raise ValueError(f"the environment variable {name} names no host")
    scheme: Literal["http", "https"] = "https" if split.scheme == "https" else "http"
    authorization = None
    if split.username is not None:
        credentials = f"{unquote(split.username)}:{unquote(split.password or '')}"
        authorization = f"Basic {b64encode(credentials.encode()).decode()}"
    return Proxy(scheme, host, port or (443 if scheme == "https" else 80), authorization)


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _passes_by(address: Address, no_proxy: str) -> bool:
    return any(_matches(entry.lower(), address) for entry in no_proxy.replace(",", " ").split())


def _matches(entry: str, address: Address) -> bool:
    """`entry` is `*`, a name, an address or a network (`10.0.0.0/8`); a name and an address may have a port."""
    if entry == "*":
        return True
    host, port = _with_port(entry)
    if port is not None and port != address.port:
        return False
    try:
        return ip_address(address.host) in ip_network(host, strict=False)
    except ValueError:
        name = host.removeprefix("*").removeprefix(".")
        return bool(name) and (address.host == name or address.host.endswith(f".{name}"))


def _with_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, int(port[1:]) if port[1:].isdecimal() else None
    host, _, port = entry.rpartition(":")
    if port.isdecimal() and host and ":" not in host:
        return host, int(port)
    return entry, None
