"""The workspace: threads and their runs, the driver that performs an agent's wishes, its tools, what a model is told, and the HTTP door
with the page."""

from headrace.workspace.connecting import Connection, Lost, ServerSecrets, connected
from headrace.workspace.console import Console, Facts
from headrace.workspace.door import Door
from headrace.workspace.driver import Driver, Ending, Granted, Person
from headrace.workspace.files import ThreadFiles
from headrace.workspace.hands import Hands, Screen
from headrace.workspace.honesty import BUILT_IN, verdict
from headrace.workspace.instructions import brought_along
from headrace.workspace.looking import ThreadBrowser
from headrace.workspace.memories import Memories, OwnMemories
from headrace.workspace.nobody import Nobody
from headrace.workspace.outfit import Outfit, equipped
from headrace.workspace.pages import page_routes
from headrace.workspace.remembering import Embeds, Remembering
from headrace.workspace.runs import Runs, Speakers
from headrace.workspace.scheduling import Keeper, Scheduler, new_schedule, next_due
from headrace.workspace.toolbox import Kit, Toolbox
from headrace.workspace.visitors import SESSION_S, Visitors
from headrace.workspace.work import Speaker

__all__ = [
    "BUILT_IN",
    "SESSION_S",
    "Connection",
    "Console",
    "Door",
    "Driver",
    "Embeds",
    "Ending",
    "Facts",
    "Granted",
    "Hands",
    "Keeper",
    "Kit",
    "Lost",
    "Memories",
    "Nobody",
    "Outfit",
    "OwnMemories",
    "Person",
    "Remembering",
    "Runs",
    "Scheduler",
    "Screen",
    "ServerSecrets",
    "Speaker",
    "Speakers",
    "ThreadBrowser",
    "ThreadFiles",
    "Toolbox",
    "Visitors",
    "brought_along",
    "connected",
    "equipped",
    "new_schedule",
    "next_due",
    "page_routes",
    "verdict",
]
