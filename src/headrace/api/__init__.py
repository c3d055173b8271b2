"""The door: OpenAI's HTTP surface."""

from headrace.api.admin import Admin
from headrace.api.asgi import Asgi
from headrace.api.askers import Keys
from headrace.api.auditlogs import AuditLogs
from headrace.api.batches import Batches, BatchesSettings
from headrace.api.caching import Cache, CacheSettings
from headrace.api.cold import HOT_PATHS, WEBSOCKET_PATHS, Cold
from headrace.api.conversations import Conversations
from headrace.api.desk import Desk
from headrace.api.door import Door
from headrace.api.files import Files, FilesSettings
from headrace.api.foreign import Foreign
from headrace.api.gate import Actor, Gate, People
from headrace.api.groups import PeopleGroups
from headrace.api.heads import Heads
from headrace.api.lines import Lines
from headrace.api.members import Members
from headrace.api.message_batches import MessageBatches
from headrace.api.messages import Messages, MessagesManner
from headrace.api.models import Models
from headrace.api.money import Minting, Money
from headrace.api.once import Once
from headrace.api.organization import Asked, Cost, Organization, Used
from headrace.api.permissions import Permissions
from headrace.api.posts import POST_PATHS, Posts
from headrace.api.projectkeys import ProjectKeys
from headrace.api.projects import Projects
from headrace.api.quotes import Quotes
from headrace.api.responses import Responses
from headrace.api.responses_background import Background
from headrace.api.responses_keeping import Keeper, ResponsesSettings
from headrace.api.scim import Scim
from headrace.api.signing import Page, Signing, SigningTerms
from headrace.api.socket import Lane, SocketSettings
from headrace.api.spending import SpendAlert, Spender, Spending, SpendLimit

__all__ = [
    "HOT_PATHS",
    "POST_PATHS",
    "WEBSOCKET_PATHS",
    "Actor",
    "Admin",
    "Asgi",
    "Asked",
    "AuditLogs",
    "Background",
    "Batches",
    "BatchesSettings",
    "Cache",
    "CacheSettings",
    "Cold",
    "Conversations",
    "Cost",
    "Desk",
    "Door",
    "Files",
    "FilesSettings",
    "Foreign",
    "Gate",
    "Heads",
    "Keeper",
    "Keys",
    "Lane",
    "Lines",
    "Members",
    "MessageBatches",
    "Messages",
    "MessagesManner",
    "Minting",
    "Models",
    "Money",
    "Once",
    "Organization",
    "Page",
    "People",
    "PeopleGroups",
    "Permissions",
    "Posts",
    "ProjectKeys",
    "Projects",
    "Quotes",
    "Responses",
    "ResponsesSettings",
    "Scim",
    "Signing",
    "SigningTerms",
    "SocketSettings",
    "SpendAlert",
    "SpendLimit",
    "Spender",
    "Spending",
    "Used",
]
