"""What commands change, as the audit log tells it; and the log itself, for commands."""

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from headrace.compose.clock import MachineClock, Names
from headrace.compose.place import Place
from headrace.core.identity import Principal
from headrace.storage import AUDITED, Act, Author, Database, SharedState, make_folder, note, transaction

HOUSE = "default"
"""The organisation that runs the server: the development key is of it, and what is of no organisation in particular is told as its."""


def shared_state(place: Place) -> SharedState:
    """What the hosts of this installation share. Raises SetupError."""
    storage = place.settings().storage
    return SharedState(make_folder(Path(storage.path)), storage.url, MachineClock().instant)


def command_act(organization: str = HOUSE) -> Act:
    """What whoever types does now."""
    clock = MachineClock()
    return Act(id=Names(clock)("audit_"), moment=clock.moment(), organization=organization, author=Author(origin="command", id=_user()))


def key_act(principal: Principal) -> Act:
    """What the holder of a key does now."""
    clock = MachineClock()
    author = Author(origin="api_key", id=principal.key, name=principal.key_name, owner=principal.owner or None)
    return Act(id=Names(clock)("audit_"), moment=clock.moment(), organization=principal.organization, author=author)


@contextmanager
def audit_log(place: Place) -> Iterator[Database]:
    """The database that the audit log is in. Raises SetupError."""
    with shared_state(place).opened() as database:
        yield database


def command_noted(
    place: Place, kind: str, resource: str, details: Mapping[str, object], *, organization: str | None = None, project: str | None = None
) -> None:
    """Tell the audit log of what a command has done."""
    with audit_log(place) as database, transaction(database, AUDITED):
        note(database, command_act(organization or HOUSE), kind, resource, details, project=project or "")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have a user of no name
        return "unknown"
