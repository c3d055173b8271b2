"""Hands that reach upstreams: the transport and one adapter a dialect."""

from headrace.providers.provider import Hearer, Provider
from headrace.providers.transport import Endpoint, TransportSettings

__all__ = ["Endpoint", "Hearer", "Provider", "TransportSettings"]
