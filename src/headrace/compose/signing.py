"""The key with which an installation signs leave that is given ahead of time, and the secrets of messages."""

import secrets

from headrace.agents.mandate import KEY_BYTES
from headrace.compose.place import Place
from headrace.storage import Layout, leave_key, make_folder


def signing_key(place: Place) -> bytes:
    """The key of the data folder, made at its first use."""
    return signing_key_of(make_folder(place.layout().root))


def signing_key_of(layout: Layout) -> bytes:
    """The same, of a folder that is there."""
    return leave_key(layout, secrets.token_bytes(KEY_BYTES))


def new_token() -> bytes:
    """The bytes of a secret that signs messages, as many as Standard Webhooks advises."""
    return secrets.token_bytes(32)
