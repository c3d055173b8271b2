"""The door: OpenAI's HTTP surface."""

from headrace.api.admin import Admin
from headrace.api.cold import HOT_PATHS, WEBSOCKET_PATHS, Cold
from headrace.api.door import Door
from headrace.api.foreign import Foreign
from headrace.api.messages import Messages
from headrace.api.responses import Responses
from headrace.api.responses_background import Background
from headrace.api.responses_keeping import Keeper, ResponsesSettings
from headrace.api.socket import Lane, SocketSettings

__all__ = ["HOT_PATHS", "WEBSOCKET_PATHS", "Admin", "Background", "Cold", "Door", "Foreign", "Keeper", "Lane", "Messages", "Responses", "ResponsesSettings", "SocketSettings"]
