"""Who is signed in: by the digest of a cookie, until it expires, is idle for too long, or is ended here or by the identity provider."""

import hashlib

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.storage.database import Database, transaction
from headrace.storage.register import Person, person_by_id

SEEN_EVERY = 60 * SECOND
"""How exactly it is known when somebody was last seen: a row is written no more often."""
_FIELDS = "person, began, seen, expires, issuer, subject, sid, id_token"


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """One browser's session. `sid` is what the identity provider calls its own."""

    person: str
    began: Moment
    seen: Moment
    expires: Moment
    issuer: str
    subject: str
    sid: str | None
    id_token: str


def sign_in(database: Database, cookie: str, one: SignIn) -> None:
    """Begin a session under a secret cookie, and forget those that are over."""
    with transaction(database, "sign-ins"):
        database.execute("DELETE FROM sign_in WHERE expires <= ?", (one.began,))
        sql = f"INSERT INTO sign_in (digest, {_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- our own column names
        database.execute(sql, (_digest(cookie), *msgspec.structs.astuple(one)))


def signed_in(database: Database, cookie: str, now: Moment, idle: int) -> tuple[SignIn, Person] | None:
    """Whose session it is; None where there is none, or it is over, or has been idle for `idle` nanoseconds."""
    row = database.execute(f"SELECT {_FIELDS} FROM sign_in WHERE digest = ?", (_digest(cookie),)).fetchone()  # noqa: S608 -- ours
    if row is None:
        return None
    found = SignIn(**dict(zip(SignIn.__struct_fields__, row, strict=True)))
    person = person_by_id(database, found.person)
    if person is None or person.deactivated is not None or found.expires <= now or found.seen + idle <= now:
        return None
    if now - found.seen > SEEN_EVERY:
        database.execute("UPDATE sign_in SET seen = ? WHERE digest = ?", (now, _digest(cookie)))
    return found, person


def sign_out(database: Database, cookie: str) -> None:
    database.execute("DELETE FROM sign_in WHERE digest = ?", (_digest(cookie),))


def sign_out_elsewhere(database: Database, issuer: str, *, sid: str | None, subject: str | None) -> list[str]:
    """The identity provider ends a session of its own, or all of a subject. Whose sessions ended, by the ids of people."""
    column, value = ("sid", sid) if sid is not None else ("subject", subject)
    with transaction(database, "sign-ins"):
        rows = database.execute(f"SELECT person FROM sign_in WHERE issuer = ? AND {column} = ?", (issuer, value)).fetchall()  # noqa: S608 -- ours
        database.execute(f"DELETE FROM sign_in WHERE issuer = ? AND {column} = ?", (issuer, value))  # noqa: S608 -- ours
    return sorted({row[0] for row in rows})


def _digest(cookie: str) -> bytes:
    """A cookie has 256 random bits: SHA-256 is enough."""
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()
