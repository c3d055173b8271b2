"""Who is signed in to the page, by what the browser holds: a token that is kept as its digest, and the key that it stands for.

A link is a token that is good once. Which key a session stands for is kept as that key's digest, so a session ends with its key.
"""

from hashlib import sha256
from typing import Literal, TypeAlias

from headrace.core.clock import Moment
from headrace.storage.database import Database, transaction

SessionKind: TypeAlias = Literal["session", "link"]


def keep_session(database: Database, token: str, kind: SessionKind, key: bytes, expires: Moment, now: Moment) -> None:
    """From now on `token` stands for the key of this digest. What is over is forgotten. Raises NotReady where the database is busy."""
    with transaction(database, "sessions"):
        database.execute("DELETE FROM session WHERE expires <= ?", (now,))
        database.execute("INSERT INTO session (token, kind, key, expires) VALUES (?, ?, ?, ?)", (hidden(token), kind, key, expires))


def session_of(database: Database, token: str, now: Moment) -> bytes | None:
    """The digest of the key that a session stands for; None: it is none, or over."""
    found = database.execute(
        "SELECT key FROM session WHERE token = ? AND kind = 'session' AND expires > ?", (hidden(token), now)
    ).fetchone()
    return None if found is None else bytes(found[0])


def take_link(database: Database, token: str, now: Moment) -> bytes | None:
    """The digest of the key that a link stands for, this once."""
    found = database.execute(
        "DELETE FROM session WHERE token = ? AND kind = 'link' RETURNING key, expires > ?", (hidden(token), now)
    ).fetchall()
    return bytes(found[0][0]) if found and found[0][1] else None


def drop_session(database: Database, token: str) -> None:
    database.execute("DELETE FROM session WHERE token = ?", (hidden(token),))


def hidden(token: str) -> bytes:
    """What is kept of a token that is as random as a key."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
