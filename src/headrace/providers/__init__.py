"""Hands that reach upstreams: the transport and one adapter a dialect."""

from headrace.providers.between import Between
from headrace.providers.interpreting import Interpreter
from headrace.providers.outbox import Outbox, outbox_of
from headrace.providers.provider import Gate, Hearer, Provider, Tap
from headrace.providers.spread import Spread
from headrace.providers.transport import Endpoint, TransportSettings

__all__ = [
    "Between",
    "Endpoint",
    "Gate",
    "Hearer",
    "Interpreter",
    "Outbox",
    "Provider",
    "Spread",
    "Tap",
    "TransportSettings",
    "outbox_of",
]
