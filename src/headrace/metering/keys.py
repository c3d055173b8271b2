"""API keys: what a secret looks like, what is kept of it, and whose it is."""

import hashlib
from base64 import urlsafe_b64encode

import msgspec

from headrace.core.clock import Moment
from headrace.core.identity import Principal, TrafficClass

PREFIX = "sk-hr-"
TOKEN_BYTES_MIN = 30  # 240 bits, 40 characters


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One key as it is stored: never its secret. `shown` is how lists name it, such as `sk-hr-…x7Qa`."""

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

    def __repr__(self) -> str:
        """Without the digest: rows end up in logs."""
        return f"KeyRow(id={self.id!r}, name={self.name!r}, owner={self.organization}/{self.project}, shown={self.shown!r})"

    @property
    def principal(self) -> Principal:
        return Principal(
            organization=self.organization,
            project=self.project,
            key=self.id,
            key_name=self.name,
            traffic_class=self.traffic_class,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )


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
