"""API keys: what a secret looks like, what is kept of it, and whose it is."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence

import msgspec

from headrace.core.clock import Moment
from headrace.core.identity import Principal, TrafficClass
from headrace.core.roles import Role

PREFIX = "sk-hr-"
TOKEN_BYTES_MIN = 30  # 240 bits, 40 characters


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One key as it is stored: never its secret. `shown` is how lists name it, such as `sk-hr-…x7Qa`.

    A key with a `parent` was minted from it, and may do what both may: it is bound by the parent's budget as well, and ends with it.
    The `owner` is a person or a service account, by id; a key with a `role` administers.
    """

    id: str
    name: str
    organization: str
    project: str
    traffic_class: TrafficClass = "realtime"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    digest: bytes
    shown: str
    created: Moment
    revoked: Moment | None = None
    parent: str | None = None
    budget_pico: int | None = None
    models: tuple[str, ...] | None = None
    classes: tuple[TrafficClass, ...] | None = None
    expires: Moment | None = None
    owner: str | None = None
    role: Role | None = None

    def __repr__(self) -> str:
        """Without the digest: rows end up in logs."""
        return f"KeyRow(id={self.id!r}, name={self.name!r}, owner={self.organization}/{self.project}, shown={self.shown!r})"

    @property
    def principal(self) -> Principal:
        """Who holds it, where it has no parent."""
        return principal_of((self,))


def principal_of(lineage: Sequence[KeyRow]) -> Principal:
    """Who holds the first of these keys, of which each is the parent of the one before it."""
    own, *parents = lineage
    first = lineage[-1]
    expiries = [row.expires for row in lineage if row.expires is not None]
    return Principal(
        organization=own.organization,
        project=own.project,
        key=own.id,
        key_name=own.name,
        traffic_class=own.traffic_class,
        requests_per_minute=first.requests_per_minute,
        tokens_per_minute=first.tokens_per_minute,
        parents=tuple(row.id for row in parents),
        parent_names=tuple(row.name for row in parents),
        allowances=tuple((row.id, row.budget_pico) for row in lineage if row.budget_pico is not None),
        models=_common([row.models for row in lineage]),
        classes=_common([row.classes for row in lineage]),
        expires=min(expiries, default=None),
        limited_as=first.id if parents else "",
        key_limits=tuple(
            (row.id, row.requests_per_minute, row.tokens_per_minute)
            for row in lineage[:-1]
            if row.requests_per_minute is not None or row.tokens_per_minute is not None
        ),
        role=own.role,
        owner=own.owner or "",
    )


def _common(sets: Sequence[tuple[str, ...] | None]) -> frozenset[str] | None:
    """What all of them name; None where none names anything."""
    named = [frozenset(one) for one in sets if one is not None]
    return frozenset.intersection(*named) if named else None


def secret_from(token: bytes) -> str:
    """The secret that random bytes make: `sk-hr-` and 40 or more characters that need no quoting anywhere."""
    if len(token) < TOKEN_BYTES_MIN:
        raise ValueError(f"a key's secret is made of {TOKEN_BYTES_MIN} random bytes or more, not of {len(token)}")
    return PREFIX + urlsafe_b64encode(token).rstrip(b"=").decode()


def digest(secret: str) -> bytes:
    """What is stored of a secret. A slow hash protects guessable words; 240 random bits can't be guessed, so SHA-256 is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def shown(secret: str) -> str:
    """A secret as lists may show it."""
    return f"{PREFIX if secret.startswith(PREFIX) else ''}…{secret[-4:]}"
