"""Tokens of Microsoft Entra ID for a service without a person: OAuth 2.0 client credentials.

A token is held until shortly before its end. In its last minutes one request at a time fetches the next while the others go on with the
one in hand; a failed fetch is tried again after a while, and the token in hand stays good until its end. Only who finds no valid token
waits, and then for the one fetch that is under way.
"""

import asyncio
import re
from urllib.parse import quote, urlencode

import msgspec

from headrace.core.clock import SECOND, Clock, Instant
from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamUnreachable
from headrace.core.unreadable import UNREADABLE
from headrace.providers.transport import Endpoint

AUTHORITY = "https://login.microsoftonline.com"
"""Of Azure's public cloud; `https://login.microsoftonline.us` and `https://login.partner.microsoftonline.cn` are sovereign ones."""
SCOPE = "https://cognitiveservices.azure.com/.default"
RENEW_AHEAD = 300 * SECOND
"""How long before a token's end the next is fetched."""
MARGIN = 10 * SECOND
"""A token is not used in its last seconds: the request has to travel, and clocks differ."""
RETRY_AFTER = 5 * SECOND
"""How long a failed fetch is not repeated. Who has no valid token meanwhile fails by it too, instead of waiting for its own."""
REFUSED_AFTER = 60 * SECOND
"""A token that the service refuses is fetched anew, though not sooner than this after it came: the fault may not be the token's."""
FETCH_TIMEOUT_S = 10.0


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: int | str


class _Refused(msgspec.Struct):
    error: str = ""
    error_description: str = ""


class EntraTokens:
    """The tokens of one application (`client_id`) of one `tenant` for one `scope`. `authority` is the endpoint of `AUTHORITY` or of a
    sovereign cloud's. Raises ValueError when something of it is empty."""

    def __init__(
        self,
        *,
        authority: Endpoint,
        tenant: str,
        client_id: str,
        client_secret: str,
        clock: Clock,
        scope: str = SCOPE,
        timeout_s: float = FETCH_TIMEOUT_S,
    ) -> None:
        if not (tenant and client_id and client_secret and scope):
            raise ValueError("Entra ID needs a tenant, a client_id, a client_secret and a scope")
        self._authority, self._client, self._clock, self._timeout_s = authority, client_id, clock, timeout_s
        body = urlencode(
            {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret, "scope": scope}
        ).encode()
        head = (
            f"POST {authority.path}/{quote(tenant, safe='')}/oauth2/v2.0/token HTTP/1.1\r\nhost: {authority.host_header.decode()}\r\n"
            f"content-type: application/x-www-form-urlencoded\r\naccept: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._request = [head.encode(), body]
        self._fetching = asyncio.Lock()
        self._token = ""
        self._came_at: Instant = 0
        self._renew_at: Instant = 0
        self._ends_at: Instant = 0
        self._failed_at: Instant | None = None
        self._failure: type[UpstreamFailed | UpstreamUnreachable] = UpstreamFailed
        self._why = ""

    @property
    def current(self) -> str | None:
        """The token in hand, unless there is none or it is time to fetch the next."""
        return self._token if self._clock.instant() < self._renew_at else None

    async def token(self) -> str:
        """A valid token. Raises UpstreamFailed where Entra ID refuses one, UpstreamUnreachable where it gives no answer."""
        if self._fetching.locked() and self._valid():
            return self._token
        async with self._fetching:
            if (token := self.current) is not None:
                return token
            now = self._clock.instant()
            if self._failed_at is None or now >= self._failed_at + RETRY_AFTER:
                await self._renew(now)
            if not self._valid():
                raise self._failure(self._why)
            return self._token

    def refuse(self, token: str) -> None:
        """The service did not accept `token`: the next request fetches another."""
        now = self._clock.instant()
        if token == self._token and now >= self._came_at + REFUSED_AFTER:
            self._renew_at = now

    def _valid(self) -> bool:
        return self._clock.instant() < self._ends_at

    async def _renew(self, now: Instant) -> None:
        """Fetch the next token, or remember why there is none."""
        try:
            granted = await self._fetch()
        except (UpstreamFailed, UpstreamUnreachable) as failure:
            self._failed_at, self._failure, self._why = self._clock.instant(), type(failure), failure.message
            return
        life = int(granted.expires_in) * SECOND
        self._token, self._came_at, self._failed_at = granted.access_token, now, None
        self._ends_at = now + life - MARGIN
        self._renew_at = now + max(life - RENEW_AHEAD, life // 2)

    async def _fetch(self) -> _Granted:
        origin = self._authority.origin
        try:
            async with asyncio.timeout(self._timeout_s), self._authority.exchange(self._request) as exchange:
                status, body = exchange.status, await exchange.whole()
        except TimeoutError:
            raise UpstreamUnreachable(f"{origin} gave no token within {self._timeout_s:g} s.") from None
        except HeadraceError as failure:  # also one that may bill: only the authority was asked, which bills nothing
            raise UpstreamUnreachable(f"{origin} gave no token: {failure.message}") from None
        if status == 200:
            return self._granted(body)
        raise UpstreamFailed(
            f"{origin} answered {status} and gave no token to the application {self._client}{_words(body)} "
            "(check the pool's tenant, client_id and client_secret)."
        )

    def _granted(self, body: bytes) -> _Granted:
        try:
            granted = msgspec.json.decode(body, type=_Granted)
            int(granted.expires_in)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            raise UpstreamFailed(f"{self._authority.origin} answered with something that is not a token.") from None
        if not _TOKEN.fullmatch(granted.access_token):
            raise UpstreamFailed(f"{self._authority.origin} gave a token that no header can hold.")
        return granted


_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
"""What a bearer token is made of (RFC 6750)."""


def _words(body: bytes) -> str:
    """The first line of why: those after it are numbers for Microsoft's support."""
    try:
        refused = msgspec.json.decode(body, type=_Refused)
    except UNREADABLE:
        return ""
    why = (refused.error_description or refused.error).strip()
    return f": {why.splitlines()[0]}" if why else ""
