"""Responses over a WebSocket at the same path: the client says `response.create` again and again, one turn at a time.

What is not to be stored is remembered as long as the connection lives, and may be gone on from here and nowhere else.
"""

import asyncio
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from headrace.api.askers import authenticate
from headrace.api.errors import body_of, status_of
from headrace.api.foreign import Foreign
from headrace.api.responses_asking import Asked, Asking
from headrace.api.responses_keeping import Keeper
from headrace.api.responses_sinks import SocketSink
from headrace.api.responses_voice import Response, ResponseVoice
from headrace.core.clock import SECOND
from headrace.core.errors import HeadraceError, InvalidJson, InvalidRequest
from headrace.core.identity import Principal
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import NOTHING
from headrace.storage import Context
from headrace.wire.responses_answer import usage_object
from headrace.wire.responses_head import head_for, numbered

REMEMBERED_MAX = 64
LIFE_S = 3_600.0
"""A connection ends after an hour."""
POLICY_VIOLATION, GOING_AWAY = 1008, 1001
_object = msgspec.json.Decoder(dict[str, Any])


class Conversing:
    def __init__(self, foreign: Foreign, asking: Asking, keeper: Keeper) -> None:
        self._foreign, self._asking, self._keeper = foreign, asking, keeper

    async def converse(self, socket: WebSocket) -> None:
        """WebSocket /v1/responses"""
        try:
            authorization = socket.headers.get("authorization")
            principal = authenticate(authorization.encode("latin-1") if authorization is not None else None, self._foreign.keys)
        except HeadraceError:
            await socket.close(POLICY_VIOLATION)
            return
        await socket.accept()
        headers = {name.lower(): value for name, value in socket.headers.raw if name.lower().startswith(b"x-headrace")}
        remembered: dict[str, Context] = {}
        try:
            async with asyncio.timeout(LIFE_S):
                while True:
                    await self._turn(socket, principal, headers, await _received(socket), remembered)
        except TimeoutError:
            await socket.close(GOING_AWAY)
        except WebSocketDisconnect:
            pass

    async def _turn(
        self, socket: WebSocket, principal: Principal, headers: dict[bytes, bytes], message: bytes, remembered: dict[str, Context]
    ) -> None:
        request, began = self._foreign.new_id("req_"), self._foreign.clock.instant()
        asked, visit, status = None, None, 200
        try:
            body = _created(message)
            asked = await self._asking.read(request, principal, headers, body, stream=True, remembered=remembered)
            if _warms_up(message):
                await self._warm_up(socket, asked, remembered)
                return
            visit = self._foreign.gateway.admit(asked.ask)
            sink = SocketSink()
            voice = ResponseVoice(
                sink,
                asked.events(),
                lambda: self._foreign.clock.moment() // SECOND,
                lambda response: self._keep(asked, response, remembered),
                stream=True,
            )
            status = await self._spoken(socket, sink, self._foreign.answer(asked.ask, visit, voice))
        except WebSocketDisconnect:
            status = 499
            raise
        except HeadraceError as error:
            status = status_of(error)
            _forget(message, remembered)
            await socket.send_text(_failure(error).decode())
        except Exception:  # noqa: BLE001 -- whatever our fault is, the client gets an answer and the log the cause
            status = 500
            await socket.send_text(_failure(self._foreign.fault(request)).decode())
        finally:
            self._foreign.report(
                request=request,
                operation="chat",
                ask=asked.ask if asked is not None else None,
                visit=visit,
                status=status,
                client=socket.client.host if socket.client else "unknown",
                began=began,
            )

    async def _spoken(self, socket: WebSocket, sink: SocketSink, answer: Any) -> int:
        """Send what is told until the end, or until the client is gone. Who works and who sends are two; neither outlives the other."""
        async with asyncio.TaskGroup() as both:
            work = both.create_task(_carried(answer, sink))
            try:
                while (message := await sink.queue.get()) is not None:
                    await socket.send_text(message.decode())
                    sink.sent()
            except (WebSocketDisconnect, RuntimeError):
                sink.leave()
                work.cancel()
                raise WebSocketDisconnect from None
        result = work.result()
        if isinstance(result, HeadraceError):
            raise result
        return result

    async def _keep(self, asked: Asked, response: Response, remembered: dict[str, Context]) -> None:
        items = [*asked.before, *numbered(asked.own, asked.ask.request[4:]), *response.get("output", ())]
        remembered[str(response["id"])] = Context(items, asked.ask.rules)
        while len(remembered) > REMEMBERED_MAX:
            remembered.pop(next(iter(remembered)))
        await self._keeper.keep(asked, response)

    async def _warm_up(self, socket: WebSocket, asked: Asked, remembered: dict[str, Context]) -> None:
        """`generate: false`: only what is asked is taken on, and nothing is said."""
        events = asked.events()
        for event in events.begin():
            await socket.send_text(msgspec.json.encode(event).decode())
        now_s = self._foreign.clock.moment() // SECOND
        head = head_for(asked.request, id=asked.id, created_s=asked.created_s)
        response = head | {"status": "completed", "completed_at": now_s, "usage": usage_object(NOTHING)}
        await self._keep(asked, response, remembered)
        done = {"type": "response.completed", "sequence_number": 2, "response": response}
        await socket.send_text(msgspec.json.encode(done).decode())


async def _carried(answer: Any, sink: SocketSink) -> int | HeadraceError:
    """The answer's status, or why there is none; either way the sender learns that it is over."""
    try:
        status: int = await answer
        return status
    except HeadraceError as error:
        return error
    finally:
        sink.end(b"")


async def _received(socket: WebSocket) -> bytes:
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    told = message.get("bytes")
    return told if told is not None else str(message.get("text") or "").encode()


def _created(message: bytes) -> bytes:
    """The request of a `response.create`. Raises InvalidJson or InvalidRequest for any other message."""
    try:
        told = _object.decode(message)
    except UNREADABLE as wrong:
        raise InvalidJson(f"The message is not a JSON object: {wrong}.") from None
    if told.get("type") != "response.create":
        raise InvalidRequest("Invalid value for 'type': expected response.create.", param="type")
    inner = told.get("response")
    asked = inner if isinstance(inner, dict) else {name: value for name, value in told.items() if name not in ("type", "event_id")}
    return msgspec.json.encode({name: value for name, value in asked.items() if name not in ("stream", "background")})


def _warms_up(message: bytes) -> bool:
    return b'"generate"' in message and _object.decode(message).get("generate") is False


def _forget(message: bytes, remembered: dict[str, Context]) -> None:
    """A turn that failed takes with it what it went on from: nobody knows how far it came."""
    try:
        remembered.pop(str(_object.decode(message).get("previous_response_id")), None)
    except UNREADABLE:
        return


def _failure(error: HeadraceError) -> bytes:
    """Open Responses wants a code in each: ours, where an upstream told none."""
    told = _object.decode(body_of(error))
    if isinstance(what := told.get("error"), dict) and not isinstance(what.get("code"), str):
        what["code"] = error.code
    return msgspec.json.encode({"type": "error", "status": status_of(error), **told})
