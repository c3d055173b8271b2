"""The door: OpenAI's HTTP surface."""

from headrace.api.admin import Admin
from headrace.api.cold import HOT_PATHS, Cold
from headrace.api.door import Door
from headrace.api.money import Minting, Money
from headrace.api.socket import Lane, SocketSettings

__all__ = ["HOT_PATHS", "Admin", "Cold", "Door", "Lane", "Minting", "Money", "SocketSettings"]
