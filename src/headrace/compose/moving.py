"""From SQLite to PostgreSQL: the move itself, and that no server starts on the one where the other is meant."""

import contextlib

from headrace.compose.acts import shared_state
from headrace.compose.clock import process_id
from headrace.compose.place import Place
from headrace.core.errors import SettingsInvalid, SetupError
from headrace.storage import DataFolder, SharedState, connect, holds_state, move


def move_to_postgres(place: Place) -> dict[str, int]:
    """Copy what the data folder holds of what hosts share to `[storage] url`. How many rows of each table. Raises SetupError or
    StoreUnreachable, and has moved nothing then."""
    state = shared_state(place)
    if state.url is None:
        raise SettingsInvalid("[storage] url names no PostgreSQL to move to: set it first")
    with DataFolder.hold(state.layout.root, process_id()):
        if state.layout.moved.exists():
            raise SetupError(f"what this data folder shares lies in PostgreSQL already ({state.layout.moved} says so)")
        with contextlib.closing(connect(state.layout.database)) as local, state.opened() as remote:
            counts = move(local, remote)
        _mark(state)
    return {table: count for table, count in counts.items() if count}


def check_moved(state: SharedState) -> None:
    """At a start: raises SetupError where the settings lead away from what the data folder has."""
    moved = state.layout.moved
    if state.url is None:
        if moved.exists():
            raise SetupError(
                f"keys and all that is kept of this data folder lie in PostgreSQL: set [storage] url again. To go on with what was here "
                f"before, with keys that were revoked since, remove {moved}"
            )
        return
    if not moved.exists():
        with contextlib.closing(connect(state.layout.database)) as local:
            if holds_state(local):
                raise SetupError(
                    f"the data folder {state.layout.root} holds keys, responses, files or the like, and with [storage] url those of "
                    "PostgreSQL are used: `headrace storage move` copies them there, into an empty database; else use a new data folder "
                    "([storage] path)"
                )
        _mark(state)
    elif moved.read_text().strip() != state.installation():
        raise SetupError(
            f"the data folder {state.layout.root} is of another installation than the one in the PostgreSQL of [storage] url: set the "
            f"address that it had. To have it join this one, with other keys and another register, remove {moved}"
        )


def _mark(state: SharedState) -> None:
    name = state.installation()
    state.layout.moved.touch(mode=0o600)
    state.layout.moved.write_text(f"{name}\n")
