"""The door: OpenAI's HTTP surface."""

from headrace.api.cold import HOT_PATHS, cold_app
from headrace.api.door import Door
from headrace.api.socket import Lane, SocketSettings

__all__ = ["HOT_PATHS", "Door", "Lane", "SocketSettings", "cold_app"]
