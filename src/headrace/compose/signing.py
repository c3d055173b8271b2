"""The key with which an installation signs leave that is given ahead of time."""

import secrets

from headrace.agents.mandate import KEY_BYTES
from headrace.compose.place import Place
from headrace.storage import leave_key, make_folder


def signing_key(place: Place) -> bytes:
    """The key of the data folder, made at its first use."""
    return leave_key(make_folder(place.layout().root), secrets.token_bytes(KEY_BYTES))
