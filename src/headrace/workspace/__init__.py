"""The workspace: threads and their runs, the driver that performs an agent's wishes, its tools, what a model is told, and the HTTP door
with the page."""

from headrace.workspace.a2a import A2A
from headrace.workspace.agent_tasks import AgentTasks
from headrace.workspace.connecting import Connection, Lost, ServerSecrets, connected
from headrace.workspace.console import Console, Facts
from headrace.workspace.door import Door
from headrace.workspace.driver import Driver, Ending, Granted, Person
from headrace.workspace.files import ThreadFiles
from headrace.workspace.firing import FILE as SCHEDULE_FILE
from headrace.workspace.firing import Firings
from headrace.workspace.hands import Hands, Screen
from headrace.workspace.honesty import BUILT_IN, verdict
from headrace.workspace.instructions import brought_along
from headrace.workspace.looking import ThreadBrowser
from headrace.workspace.making import NewReport, Offered, ReportMaking
from headrace.workspace.memories import Memories
from headrace.workspace.nobody import Nobody
from headrace.workspace.outfit import Outfit, equipped
from headrace.workspace.pages import page_routes
from headrace.workspace.pushes import Pushes
from headrace.workspace.remembering import Embeds, Remembering
from headrace.workspace.reports import ConsoleReports
from headrace.workspace.runs import Runs, Speakers
from headrace.workspace.schedules import Schedules
from headrace.workspace.scheduling import Keeper, Scheduler, new_schedule, next_due
from headrace.workspace.telling import KINDS, Teller, check_address, check_kinds, happened, scheduled
from headrace.workspace.toolbox import Kit, Toolbox
from headrace.workspace.triggers import FILE as TRIGGER_FILE
from headrace.workspace.triggers import NewTrigger, Triggers, new_trigger
from headrace.workspace.visitors import SESSION_S, Visitors, owner_of
from headrace.workspace.webhooks import Webhooks, test_message, told_of
from headrace.workspace.work import Speaker, innermost

__all__ = [
    "A2A",
    "BUILT_IN",
    "KINDS",
    "SCHEDULE_FILE",
    "SESSION_S",
    "TRIGGER_FILE",
    "AgentTasks",
    "Connection",
    "Console",
    "ConsoleReports",
    "Door",
    "Driver",
    "Embeds",
    "Ending",
    "Facts",
    "Firings",
    "Granted",
    "Hands",
    "Keeper",
    "Kit",
    "Lost",
    "Memories",
    "NewReport",
    "NewTrigger",
    "Nobody",
    "Offered",
    "Outfit",
    "Person",
    "Pushes",
    "Remembering",
    "ReportMaking",
    "Runs",
    "Scheduler",
    "Schedules",
    "Screen",
    "ServerSecrets",
    "Speaker",
    "Speakers",
    "Teller",
    "ThreadBrowser",
    "ThreadFiles",
    "Toolbox",
    "Triggers",
    "Visitors",
    "Webhooks",
    "brought_along",
    "check_address",
    "check_kinds",
    "connected",
    "equipped",
    "happened",
    "innermost",
    "new_schedule",
    "new_trigger",
    "next_due",
    "owner_of",
    "page_routes",
    "scheduled",
    "test_message",
    "told_of",
    "verdict",
]
