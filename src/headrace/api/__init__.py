"""The door: OpenAI's HTTP surface."""

from headrace.api.admin import Admin
from headrace.api.cold import HOT_PATHS, Cold
from headrace.api.door import Door
from headrace.api.foreign import Foreign
from headrace.api.messages import Messages
from headrace.api.socket import Lane, SocketSettings

__all__ = ["HOT_PATHS", "Admin", "Cold", "Door", "Foreign", "Lane", "Messages", "SocketSettings"]
