"""The workspace: runs, the driver that performs an agent's wishes, its tools, and what a model is told."""

from headrace.workspace.connecting import Connection, Lost, ServerSecrets, connected
from headrace.workspace.driver import Driver, Ending, Granted, Person
from headrace.workspace.hands import Hands
from headrace.workspace.honesty import BUILT_IN, verdict
from headrace.workspace.instructions import brought_along
from headrace.workspace.outfit import Outfit, equipped
from headrace.workspace.toolbox import Kit, Toolbox

__all__ = [
    "BUILT_IN",
    "Connection",
    "Driver",
    "Ending",
    "Granted",
    "Hands",
    "Kit",
    "Lost",
    "Outfit",
    "Person",
    "ServerSecrets",
    "Toolbox",
    "brought_along",
    "connected",
    "equipped",
    "verdict",
]
