"""How upstreams are reached, and how long they are waited for: one value for all pools, or one a pool."""

import msgspec


class TransportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait for an upstream at each step, what to keep open to it, and how to know that it is the right one.

    A time limit is kept by a sweep each 250 ms: nobody is given up before it, and nobody later than half a second after it.
    """

    connect_timeout_ms: int = 5_000
    """To find the address, to connect, through a proxy if need be, and to agree on TLS."""
    first_byte_timeout_ms: int = 300_000
    between_bytes_timeout_ms: int = 120_000
    total_timeout_ms: int = 3_600_000
    """From the request's first byte to the answer's last, also while the client is slow; 0: as long as it takes."""
    idle_timeout_ms: int = 50_000
    """Shorter than what is between keeps silent connections for (60 s and more), so that it is we who close them."""
    idle_connections_max: int = 1_024
    ca_file: str | None = None
    """Who may sign the upstreams' certificates, as PEM, instead of the system's authorities."""
    http2: bool = False

    def __post_init__(self) -> None:
        if min(self.connect_timeout_ms, self.first_byte_timeout_ms, self.between_bytes_timeout_ms, self.idle_timeout_ms) < 1:
            raise ValueError("timeouts of the transport are at least 1 ms")
        if self.total_timeout_ms < 0:
            raise ValueError("transport.total_timeout_ms must be 0 (none) or more")
        if self.idle_connections_max < 0:
            raise ValueError("transport.idle_connections_max must be 0 or more")
