"""The door: OpenAI's HTTP surface."""

from headrace.api.admin import Admin
from headrace.api.askers import Keys
from headrace.api.cold import HOT_PATHS, Cold
from headrace.api.door import Door
from headrace.api.heads import Heads
from headrace.api.money import Minting, Money
from headrace.api.organization import Asked, Cost, Organization, Used
from headrace.api.socket import Lane, SocketSettings

__all__ = [
    "HOT_PATHS",
    "Admin",
    "Asked",
    "Cold",
    "Cost",
    "Door",
    "Heads",
    "Keys",
    "Lane",
    "Minting",
    "Money",
    "Organization",
    "SocketSettings",
    "Used",
]
