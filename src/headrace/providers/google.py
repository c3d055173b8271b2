"""Access to Google's cloud: a service account's key becomes a bearer token, which is renewed before it ends.

The account signs a claim with its own key (RS256) and gets a token for it (RFC 7523):
https://developers.google.com/identity/protocols/oauth2/service-account. The signature needs the `vertex` extra.
"""

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Annotated, Protocol, TypeAlias
from urllib.parse import urlencode

import msgspec

from headrace.core.clock import SECOND, Clock, Instant
from headrace.core.errors import HeadraceError, SetupError, UpstreamUnreachable
from headrace.core.unreadable import UNREADABLE
from headrace.providers.transport import Endpoint

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
CLAIM_S = 3_600
"""How long a claim is valid, and the token for it: Google allows no more."""
RENEWED_BEFORE_S = 300
HELD_BEFORE_S = 30
"""A token is used no longer than until this time before its end: a request takes a while to arrive."""
PATIENCE_S = 10.0
AGAIN_AFTER_S = 15
"""After a renewal that failed, the token that is still good is used so long until it is tried again."""

MULTI_REGIONS = frozenset({"us", "eu"})

Signer: TypeAlias = Callable[[bytes], bytes]
"""Signs by RS256: RSASSA-PKCS1-v1_5 with SHA-256."""


class ServiceAccount(msgspec.Struct, frozen=True):
    """What a key file of Google's console holds, as far as it is needed. Its `repr` keeps the key to itself."""

    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 -- an address
    project_id: str = ""

    def __repr__(self) -> str:
        return f"ServiceAccount({self.client_email!r})"


class Tokens(Protocol):
    """Where bearer tokens come from."""

    async def token(self) -> str: ...

    def forget(self) -> None: ...


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: Annotated[int, msgspec.Meta(gt=HELD_BEFORE_S)] = CLAIM_S


class _Denied(msgspec.Struct):
    error: str = ""
    error_description: str = ""


def read_account(text: bytes | str) -> ServiceAccount:
    """The account of a key file. Raises SetupError for what is none."""
    try:
        return msgspec.json.decode(text, type=ServiceAccount)
    except UNREADABLE as wrong:
        raise SetupError(
            f"This is not the key file of a Google service account: {wrong}. Make one in the console (IAM, keys, JSON)."
        ) from None


def vertex_url(location: str) -> str:
    """Where Vertex AI is served for a `location`: a region, a multi-region (`us`, `eu`) or `global`."""
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def rs256(private_key: str) -> Signer:
    """A signer with a private key in PEM. Raises SetupError for a key that can't be read, and without the `vertex` extra."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError:
        raise SetupError("A service account of Google signs by RS256, which is not installed: pip install 'headrace[vertex]'") from None
    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SetupError("The service account's private_key is not an RSA key in PEM without a password: make a new key file.")
    return lambda message: key.sign(message, padding.PKCS1v15(), hashes.SHA256())


class ServiceAccountTokens:
    """Tokens of one service account. One at a time asks for a new one; while it does, others use the old one as long as it is good.

    `endpoint` is the account's `token_uri`, `patience_s` how long a request waits for a token, which usually takes a fraction of a second.
    """

    def __init__(self, *, account: ServiceAccount, sign: Signer, endpoint: Endpoint, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._account, self._sign, self._endpoint, self._clock = account, sign, endpoint, clock
        self._patience_s = patience_s
        self._token = ""
        self._renew_at: Instant = 0
        self._held_until: Instant = 0
        self._tries, self._failure = 0, ""
        self._renewing = asyncio.Lock()

    async def token(self) -> str:
        """A token that is good now. Raises UpstreamUnreachable when there is none: the model was not asked then."""
        if self._may_use(at_leisure=not self._renewing.locked()):
            return self._token
        tries = self._tries
        async with self._renewing:
            # Where somebody tried while we waited, what came of it holds for us too.
            if self._tries == tries or not (self._failure or self._may_use(at_leisure=False)):
                await self._try()
            if not self._may_use(at_leisure=False):
                raise UpstreamUnreachable(f"There is no token for {self._account.client_email}: {self._failure}")
        return self._token

    def forget(self) -> None:
        """The token was refused: the next request shall get a new one."""
        self._token = ""

    def _may_use(self, *, at_leisure: bool) -> bool:
        """Whether the token in hand will do: `at_leisure` it is renewed early, else it is used up."""
        return bool(self._token) and self._clock.instant() < (self._renew_at if at_leisure else self._held_until)

    async def _try(self) -> None:
        self._failure = ""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._renew()
        except HeadraceError as failure:
            self._failure = str(failure)
        except TimeoutError:
            self._failure = f"{self._endpoint.origin} gave none within {self._patience_s} s."
        if self._failure:
            self._renew_at = self._clock.instant() + AGAIN_AFTER_S * SECOND
        self._tries += 1

    async def _renew(self) -> None:
        asked_at = self._clock.instant()
        body = urlencode({"grant_type": GRANT, "assertion": self._claim()}).encode()
        endpoint = self._endpoint
        head = (
            f"POST {endpoint.path or '/'} HTTP/1.1\r\nhost: {endpoint.host_header.decode()}\r\naccept: application/json\r\n"
            f"content-type: application/x-www-form-urlencoded\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        async with endpoint.exchange([head.encode(), body]) as exchange:
            status, answer = exchange.status, await exchange.whole()
        if status != 200:
            raise UpstreamUnreachable(f"{endpoint.origin} answered {status}{_words(answer)}")
        try:
            granted = msgspec.json.decode(answer, type=_Granted)
        except UNREADABLE:
            raise UpstreamUnreachable(f"{endpoint.origin} answered with something else than a token.") from None
        self._token = granted.access_token
        self._renew_at = asked_at + (granted.expires_in - RENEWED_BEFORE_S) * SECOND
        self._held_until = asked_at + (granted.expires_in - HELD_BEFORE_S) * SECOND

    def _claim(self) -> str:
        """The signed claim: a JSON web token."""
        account, now_s = self._account, self._clock.moment() // SECOND
        header = {"alg": "RS256", "typ": "JWT"} | ({"kid": account.private_key_id} if account.private_key_id else {})
        claims = {"iss": account.client_email, "scope": SCOPE, "aud": account.token_uri, "iat": now_s, "exp": now_s + CLAIM_S}
        signed = b".".join((_base64(msgspec.json.encode(header)), _base64(msgspec.json.encode(claims))))
        return b".".join((signed, _base64(self._sign(signed)))).decode()


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _words(answer: bytes) -> str:
    try:
        told = msgspec.json.decode(answer, type=_Denied)
    except UNREADABLE:
        return "."
    words = ": ".join(word for word in (told.error, told.error_description) if word)
    return f": {words}" if words else "."
