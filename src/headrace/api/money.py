"""Keys with less than one's own: minted, prolonged and revoked by who holds the key above them."""

import asyncio
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.askers import Keys, authenticate
from headrace.api.asking import CLASSES
from headrace.api.reading import read
from headrace.core.clock import SECOND, Clock, Moment
from headrace.core.errors import InvalidRequest
from headrace.core.identity import Principal, TrafficClass
from headrace.core.money import pico_of, usd
from headrace.metering import KeyRow

KEY_NAME_MAX = 64
EXPIRES_S_MAX = 100 * 366 * 86_400
LIMIT_MAX = 2**53


class KeyAsk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The key that is wished for. What is left out is as its parent has it."""

    name: str
    budget_usd: str | None = None
    models: tuple[str, ...] | None = None
    classes: tuple[TrafficClass, ...] | None = None
    expires_in_s: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Minting(msgspec.Struct, frozen=True, kw_only=True):
    """The same, as it is stored."""

    name: str
    budget_pico: int | None
    models: tuple[str, ...] | None
    classes: tuple[TrafficClass, ...] | None
    expires: int | None
    requests_per_minute: int | None
    tokens_per_minute: int | None


class LongerAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The end that is wished for a key, from now."""

    expires_in_s: int


_asks = msgspec.json.Decoder(KeyAsk)
_longer = msgspec.json.Decoder(LongerAsk)


class Money:
    """The handlers. In a thread, `mint` makes a key of a principal's own and returns it with its secret; `prolong` and `revoke` are for
    those that were minted from it, by their ids."""

    def __init__(
        self,
        *,
        keys: Keys,
        clock: Clock,
        mint: Callable[[Principal, Minting], tuple[KeyRow, str]],
        prolong: Callable[[Principal, str, Moment], KeyRow],
        revoke: Callable[[Principal, str], None],
    ) -> None:
        self._keys, self._clock, self._mint, self._prolong, self._revoke = keys, clock, mint, prolong, revoke

    def routes(self) -> list[Route]:
        return [
            Route("/v1/keys", self.create_key, methods=["POST"]),
            Route("/v1/keys/{key}", self.key, methods=["POST", "DELETE"]),
        ]

    async def create_key(self, request: Request) -> Response:
        """POST /v1/keys: a key that may do less than the one that asks, and ends with it."""
        principal = self._principal(request)
        asked = await read(_asks, request)
        row, secret = await asyncio.to_thread(self._mint, principal, self._minting(asked))
        return _json(
            {
                "object": "key",
                "id": row.id,
                "name": row.name,
                "secret": secret,
                "parent": row.parent,
                "budget_usd": None if row.budget_pico is None else usd(row.budget_pico),
                "models": row.models,
                "classes": row.classes,
                "expires_at": None if row.expires is None else row.expires // SECOND,
            }
        )

    async def key(self, request: Request) -> Response:
        """POST: another end for a key that was minted from the one that asks. DELETE: revoke it, with all that were minted from it."""
        principal, id = self._principal(request), request.path_params["key"]
        if request.method == "DELETE":
            await asyncio.to_thread(self._revoke, principal, id)
            return _json({"object": "key.deleted", "id": id, "deleted": True})
        asked = await read(_longer, request)
        if not 1 <= asked.expires_in_s <= EXPIRES_S_MAX:
            raise InvalidRequest(f"Invalid value for 'expires_in_s': it is 1 to {EXPIRES_S_MAX}.", param="expires_in_s")
        expires = self._clock.moment() + asked.expires_in_s * SECOND
        await asyncio.to_thread(self._prolong, principal, id, expires)
        return _json({"object": "key", "id": id, "expires_at": expires // SECOND})

    def _minting(self, asked: KeyAsk) -> Minting:
        if not 1 <= len(asked.name) <= KEY_NAME_MAX or not asked.name.isprintable():
            raise InvalidRequest(f"A key's name has 1 to {KEY_NAME_MAX} letters.", param="name")
        for field, most in (("expires_in_s", EXPIRES_S_MAX), ("requests_per_minute", LIMIT_MAX), ("tokens_per_minute", LIMIT_MAX)):
            if (value := getattr(asked, field)) is not None and not 1 <= value <= most:
                raise InvalidRequest(f"Invalid value for '{field}': it is 1 to {most}.", param=field)
        if asked.classes is not None and not set(asked.classes) <= CLASSES:
            raise InvalidRequest("Invalid value for 'classes'.", param="classes")
        try:
            budget_pico = None if asked.budget_usd is None else pico_of(asked.budget_usd)
        except ValueError as wrong:
            raise InvalidRequest(f"Invalid value for 'budget_usd': {wrong}.", param="budget_usd") from None
        return Minting(
            name=asked.name,
            budget_pico=budget_pico,
            models=asked.models,
            classes=asked.classes,
            expires=None if asked.expires_in_s is None else self._clock.moment() + asked.expires_in_s * SECOND,
            requests_per_minute=asked.requests_per_minute,
            tokens_per_minute=asked.tokens_per_minute,
        )

    def _principal(self, request: Request) -> Principal:
        authorization = request.headers.get("authorization")
        return authenticate(authorization.encode("latin-1") if authorization is not None else None, self._keys)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
