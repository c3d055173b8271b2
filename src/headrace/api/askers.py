"""Whose request it is: by the key that it carries."""

from typing import Protocol

from headrace.core.errors import InvalidApiKey
from headrace.core.identity import Principal

ASKERS_MAX = 16_384


class Keys(Protocol):
    def version(self) -> int:
        """Another number whenever any key may have changed or ended: what was found before holds until then."""
        ...

    def find(self, secret: str) -> Principal | None:
        """Whose key it is; None for one that is unknown or revoked."""
        ...


class Askers:
    """Looks each key up once, for as long as no key changes."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: dict[bytes | None, Principal] = {}
        self._version = -1

    def of(self, authorization: bytes | None) -> Principal:
        """Raises InvalidApiKey."""
        version = self._keys.version()
        if version != self._version or len(self._known) > ASKERS_MAX:
            self._known, self._version = {}, version
        principal = self._known.get(authorization)
        if principal is None:
            principal = self._known[authorization] = authenticate(authorization, self._keys)
        return principal


def authenticate(authorization: bytes | None, keys: Keys) -> Principal:
    """Whose request it is. Raises InvalidApiKey."""
    if authorization is None:
        raise InvalidApiKey("You didn't provide an API key. Send it in the Authorization header, as `Authorization: Bearer sk-hr-…`.")
    scheme, _, secret = authorization.decode("latin-1").partition(" ")
    principal = keys.find(secret.strip()) if scheme.lower() == "bearer" else None
    if principal is None:
        raise InvalidApiKey(f"Incorrect API key provided: {_masked(secret)}. `headrace keys list` shows the keys that exist.")
    return principal


def _masked(secret: str) -> str:
    return f"{secret[:6]}…{secret[-4:]}" if len(secret) > 16 else "…"
