"""The workspace: threads and their runs, the driver that performs an agent's wishes, its tools, what a model is told, and the HTTP door
with the page."""

from headrace.workspace.console import Console, Facts
from headrace.workspace.door import Door
from headrace.workspace.driver import Driver, Ending, Person
from headrace.workspace.files import ThreadFiles
from headrace.workspace.hands import Hands
from headrace.workspace.honesty import BUILT_IN, verdict
from headrace.workspace.instructions import brought_along
from headrace.workspace.pages import page_routes
from headrace.workspace.runs import Runs, Speakers
from headrace.workspace.visitors import SESSION_S, Visitors
from headrace.workspace.work import Speaker

__all__ = [
    "BUILT_IN",
    "SESSION_S",
    "Console",
    "Door",
    "Driver",
    "Ending",
    "Facts",
    "Hands",
    "Person",
    "Runs",
    "Speaker",
    "Speakers",
    "ThreadFiles",
    "Visitors",
    "brought_along",
    "page_routes",
    "verdict",
]
