"""Hands that reach upstreams: the transport and one adapter a dialect."""

from headrace.providers.provider import Provider, Tally
from headrace.providers.transport import Endpoint, TransportSettings

__all__ = ["Endpoint", "Provider", "Tally", "TransportSettings"]
