"""Idempotency-Key: the same request again, under the same key, is answered as it was the first time and not worked on again.

Work goes on when its client has left, since that is why he will ask again. What came to nothing (a limit reached, a fault of ours or of
an upstream's) is forgotten, so that asking again may succeed.

A claim is leased: to a process as long as that lives (`storage.runners`), and within it as long as the process vouches for it, every few
seconds. What nobody vouches for is lost: it may have been done, its answer is not there, and who asks again is told so. It is never done
a second time unasked.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Coroutine
from hashlib import blake2b
from typing import Any, TypeAlias, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.api.askers import Keys, authenticate
from headrace.api.errors import answer_for
from headrace.api.heads import Handler
from headrace.api.responses_asking import owner_of
from headrace.api.socket import Exchange
from headrace.api.taping import Recorder
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import BodyTooLarge, Conflict, HeadraceError, InvalidRequest, OutcomeUnknown, StoreUnreachable
from headrace.storage import Answered, Archive, Claim, Claimed, answer_once, claim, release, vouch

HEADER = b"idempotency-key"
SECRETIVE = re.compile(
    r"/v1/keys|/v1/organization/(admin_api_keys|projects/[^/]+/(api_keys|service_accounts(/[^/]+/api_keys)?))"
    r"|/workspace/api/(session|webhooks|triggers)"
)
"""What is answered there holds a secret, which is told once and not kept with the answer."""
PERSONAL = re.compile(r"/(workspace|a2a|scim|v1/(keys|organization|projects))\b")
"""What is answered there is for who asks, by what he may, and not for all of his project."""
KEY_SIZE_MAX = 255
ANSWER_BYTES_MAX = 32 * 1024 * 1024
"""A longer answer is not kept, and its key stays taken: it can't be had twice, and who asks again is told so."""
COME_BACK_MS = 1_000
KEEPING_S = 10.0
"""How long a connection waits until its answer is kept; then that goes on without it."""
UNKNOWN = (
    "The first request of this Idempotency-Key may have been done and paid for, but its answer is not there: the server ended "
    "while it worked on it, or could not keep it. Look for what it did. To have it done again, send it under a new key."
)
UNKEPT = "what was answered under an Idempotency-Key can't be kept"
REPLAYED = b"idempotent-replayed: true\r\n"
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Once:
    """Guards handlers of the hot lane and an ASGI application."""

    def __init__(
        self,
        *,
        archive: Archive,
        runner: str,
        keys: Keys,
        clock: Clock,
        new_id: Callable[[str], str],
        spawn: Spawn,
        body_bytes_max: int,
        log: logging.Logger,
    ) -> None:
        self._archive, self._runner, self._keys, self._clock, self._spawn, self._log = archive, runner, keys, clock, spawn, log
        self._new_id, self._body_bytes_max = new_id, body_bytes_max
        self._held: set[str] = set()
        self._works: set[asyncio.Task[None]] = set()

    def guarded(self, path: str, handler: Handler) -> Handler:
        """The same handler. A request without a key costs one look."""

        def handle(exchange: Exchange) -> Coroutine[Any, Any, None]:
            return handler(exchange) if HEADER not in exchange.headers else self._exchange(path, handler, exchange)

        return handle

    def application(self, app: ASGIApp) -> ASGIApp:
        """The same application, for POSTs with a key."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            headers = dict(scope["headers"]) if scope["type"] == "http" and scope["method"] == "POST" else {}
            if HEADER in headers:
                await self._asgi(app, headers, scope, receive, send)
            else:
                await app(scope, receive, send)

        return guarded

    # On the hot lane.

    async def _exchange(self, path: str, handler: Handler, exchange: Exchange) -> None:
        try:
            claimed = await self._claimed(path, exchange.headers, exchange.body)
        except HeadraceError as error:
            exchange.answer(*answer_for(error))
            return
        if isinstance(claimed, Answered):
            _replay(exchange, claimed)
            return
        recorder = _Staying(exchange, ANSWER_BYTES_MAX)
        work = self._spawn(self._worked(handler, recorder, claimed))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        await asyncio.shield(work)

    async def vouch(self) -> None:
        """Say what is worked on here; to be called every few seconds. Raises StoreUnreachable."""
        if lost := await self._archive.run(vouch, self._runner, self._held):
            self._log.warning("%d requests under an Idempotency-Key have ended without an answer that is kept", lost)

    async def stop(self) -> None:
        """End what is still worked on. It may have been done and paid for, so its keys are lost, as nobody vouches for them any more."""
        works = tuple(self._works)
        for work in works:
            work.cancel()
        if works:
            await asyncio.wait(works, timeout=5.0)

    async def _worked(self, handler: Handler, recorder: "_Staying", held: Claim) -> None:
        try:
            await handler(cast(Exchange, recorder))
            if recorder.tape.done:
                await self._settle(held, recorder.tape.answered)
            else:
                await self._archive.insist(release, held)  # it broke in the middle
        except Exception:  # noqa: BLE001 -- a task that raises would end the server, which owns it
            self._log.exception(UNKEPT)
        finally:
            self._held.discard(held.id)

    async def _settle(self, held: Claim, answered: Answered | None) -> None:
        """Keep what was answered, however long that takes."""
        if answered is not None and (answered.status in (408, 409, 429) or answered.status >= 500):
            await self._archive.insist(release, held)
        elif answered is not None and answered.status < 300 and SECRETIVE.fullmatch(held.path):
            await self._archive.insist(answer_once, held, _without_secret())
        elif answered is not None:
            await self._archive.insist(answer_once, held, answered)

    async def _kept(self, held: Claim, answered: Answered) -> None:
        try:
            await self._settle(held, answered)
        except Exception:  # noqa: BLE001 -- a task that raises would end the server, which owns it
            self._log.exception(UNKEPT)
        finally:
            self._held.discard(held.id)

    async def _released(self, held: Claim) -> None:
        try:
            await self._archive.run(release, held)
        except StoreUnreachable:
            self._log.warning("an Idempotency-Key whose request was not answered stays taken: the database can't be reached")

    async def _undone(self, held: Claim, taking: "asyncio.Future[Claimed | None]") -> None:
        """Nobody heard whether the key was taken, and nothing was done under it. What may still take it in its thread ends first."""
        try:
            await asyncio.wait((taking,))
            await self._archive.insist(release, held)
        except Exception:  # noqa: BLE001 -- a task that raises would end the server, which owns it
            self._log.exception(UNKEPT)
        finally:
            self._held.discard(held.id)

    # On Starlette.

    async def _asgi(self, app: ASGIApp, headers: dict[bytes, bytes], scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        try:
            body = await self._whole(receive)
            claimed = await self._claimed(path, headers, body)
        except HeadraceError as error:
            status, lines, told = answer_for(error)
            await _send(send, Answered(status=status, headers=lines, body=told, streamed=False), b"")
            return
        if isinstance(claimed, Answered):
            await _send(send, claimed, REPLAYED)
            return
        said, status, lines = bytearray(), 0, b""

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def record(message: Message) -> None:
            nonlocal status, lines
            if message["type"] == "http.response.start":
                status = message["status"]
                lines = b"".join(b"%b: %b\r\n" % pair for pair in message["headers"] if pair[0] != b"content-length")
            elif len(said) <= ANSWER_BYTES_MAX:
                said.extend(message.get("body", b""))
            await send(message)

        try:
            await app(scope, again, record)
        except BaseException as why:
            if isinstance(why, Exception):  # else the server stops in the middle
                await self._released(claimed)
            self._held.discard(claimed.id)
            raise
        if len(said) > ANSWER_BYTES_MAX:
            self._held.discard(claimed.id)
        else:
            keeping = self._spawn(self._kept(claimed, Answered(status=status, headers=lines, body=bytes(said), streamed=False)))
            self._works.add(keeping)
            keeping.add_done_callback(self._works.discard)
            await asyncio.wait((keeping,), timeout=KEEPING_S)

    async def _whole(self, receive: Receive) -> bytes:
        body = bytearray()
        while True:
            message = await receive()
            body.extend(message.get("body", b""))
            if len(body) > self._body_bytes_max:
                raise BodyTooLarge(f"With an Idempotency-Key a body is at most {self._body_bytes_max} bytes (server.body_bytes_max).")
            if not message.get("more_body"):
                return bytes(body)

    async def _claimed(self, path: str, headers: dict[bytes, bytes], body: bytes) -> Answered | Claim:
        """What was answered before, or the claim of who works on it now. Raises Conflict where another request has the key,
        OutcomeUnknown where nobody knows what came of the first."""
        bearer = headers.get(b"authorization")
        secret = headers.get(b"x-api-key")
        who = authenticate(bearer if secret is None else b"Bearer " + secret, self._keys)
        owner = owner_of(who) if PERSONAL.match(path) is None else f"{owner_of(who)} {who.key}"
        key = headers[HEADER].decode("latin-1").strip()
        if not 1 <= len(key) <= KEY_SIZE_MAX:
            raise InvalidRequest(f"Invalid Idempotency-Key: it has 1 to {KEY_SIZE_MAX} characters.", param="Idempotency-Key")
        digest = blake2b(body, digest_size=16).digest()
        wanted = Claim(owner, path, key, self._new_id("claim_"))
        held = await self._taken(wanted, digest)
        if held is None:
            return wanted
        self._held.discard(wanted.id)
        if held.digest != digest:
            raise Conflict("This Idempotency-Key was used for another request: use a new one.", param="Idempotency-Key")
        match held.state:
            case "done":
                return held.answered
            case "working":
                raise Conflict("The first request of this Idempotency-Key is still worked on.", retry_after_ms=COME_BACK_MS)
            case "lost":
                raise OutcomeUnknown(UNKNOWN, param="Idempotency-Key")

    async def _taken(self, wanted: Claim, digest: bytes) -> Claimed | None:
        self._held.add(wanted.id)
        now_s = self._clock.moment() // SECOND
        taking = asyncio.ensure_future(self._archive.run(claim, wanted, digest, self._runner, now_s))  # noqa: TID251 -- waited for here or there
        try:
            return await asyncio.shield(taking)
        except BaseException:
            undoing = self._spawn(self._undone(wanted, taking))
            self._works.add(undoing)
            undoing.add_done_callback(self._works.discard)
            raise


def _without_secret() -> Answered:
    """What whoever asks again hears instead of the answer."""
    told = Conflict("The first request of this Idempotency-Key made a secret, which was told once: look for what it made in its list.")
    status, headers, body = answer_for(told)
    return Answered(status=status, headers=headers, body=body, streamed=False)


class _Staying(Recorder):
    """Its client never seems to leave."""

    left = False


def _replay(exchange: Exchange, answered: Answered) -> None:
    if not answered.streamed:
        exchange.answer(answered.status, answered.headers + REPLAYED, answered.body)
        return
    kept = b"".join(line + b"\r\n" for line in answered.headers.split(b"\r\n") if line and not line.startswith(b"trailer:"))
    exchange.begin(kept + REPLAYED)
    exchange.write(answered.body)
    exchange.end()


async def _send(send: Callable[[Message], Awaitable[None]], answered: Answered, more: bytes) -> None:
    lines = [line.split(b": ", 1) for line in (answered.headers + more).split(b"\r\n") if line]
    headers = [(name.lower(), value) for name, value in lines] + [(b"content-length", b"%d" % len(answered.body))]
    await send({"type": "http.response.start", "status": answered.status, "headers": headers})
    await send({"type": "http.response.body", "body": answered.body})
