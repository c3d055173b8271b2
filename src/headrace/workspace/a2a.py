"""The A2A door: who this agent is, and its two ways of being spoken to, JSON-RPC and HTTP with JSON. Who calls shows a key of ours."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headrace.core.errors import HeadraceError, InvalidApiKey, Side
from headrace.wire.a2a import (
    CARD_PATH,
    INTERNAL,
    INVALID_PARAMS,
    MEDIA_TYPE,
    METHOD_NOT_FOUND,
    NO_EXTENDED_CARD,
    VERSION,
    VERSION_HEADER,
    Answered,
    Call,
    Card,
    Fault,
    Interface,
    ListPushes,
    ListTasks,
    OnePush,
    OneTask,
    PushConfig,
    SendMessage,
    Skill,
    Streamed,
    call_of,
    check_version,
    failure,
    params_of,
    query_of,
    refusal,
    result,
)
from headrace.workspace.agent_tasks import AgentTasks
from headrace.workspace.bodies import body_of
from headrace.workspace.pushes import Pushes
from headrace.workspace.visitors import Visitor, Visitors

BODY_BYTES_MAX: Final = 8 << 20
AT: Final = "/a2a"
SKILLS: Final = (
    Skill(
        id="task",
        name="Tasks in a workspace",
        description="Does a task in a folder of its own: changes files, runs commands in a sandbox, reads pages where its owner allows it.",
        tags=("code", "files", "research"),
        examples=("Write a script that adds up the second column of this table.",),
    ),
)
Stream: TypeAlias = AsyncGenerator[Streamed, None]


class A2A:
    """The handlers."""

    def __init__(self, visitors: Visitors, tasks: AgentTasks, pushes: Pushes, version: str) -> None:
        self._visitors, self._tasks, self._pushes, self._version = visitors, tasks, pushes, version
        self._calls: dict[str, Callable[[Visitor, Call], Awaitable[Any]]] = {
            "SendMessage": self._send,
            "GetTask": lambda visitor, call: tasks.get(visitor, params_of(call.params, OneTask)),
            "ListTasks": lambda visitor, call: tasks.list(visitor, params_of(call.params, ListTasks)),
            "CancelTask": lambda visitor, call: tasks.cancel(visitor, params_of(call.params, OneTask)),
            "CreateTaskPushNotificationConfig": lambda visitor, call: pushes.create(visitor, params_of(call.params, PushConfig)),
            "GetTaskPushNotificationConfig": lambda visitor, call: pushes.get(visitor, params_of(call.params, OnePush)),
            "ListTaskPushNotificationConfigs": lambda visitor, call: pushes.list(visitor, params_of(call.params, ListPushes)),
            "DeleteTaskPushNotificationConfig": lambda visitor, call: pushes.delete(visitor, params_of(call.params, OnePush)),
            "GetExtendedAgentCard": _no_card,
        }
        self._streams: dict[str, Callable[[Visitor, Call], Awaitable[Stream]]] = {
            "SendStreamingMessage": lambda visitor, call: tasks.stream(visitor, params_of(call.params, SendMessage)),
            "SubscribeToTask": lambda visitor, call: tasks.subscribe(visitor, params_of(call.params, OneTask)),
        }

    def routes(self) -> list[Route]:
        return [
            Route(CARD_PATH, self.card),
            Route(AT, self.call, methods=["POST"]),
            Route(f"{AT}/message:send", self.send, methods=["POST"]),
            Route(f"{AT}/message:stream", self.stream, methods=["POST"]),
            Route(f"{AT}/tasks", self.list),
            Route(f"{AT}/tasks/{{task}}:cancel", self.cancel, methods=["POST"]),
            Route(f"{AT}/tasks/{{task}}:subscribe", self.subscribe, methods=["GET", "POST"]),
            Route(f"{AT}/tasks/{{task}}", self.task),
            Route(f"{AT}/tasks/{{task}}/pushNotificationConfigs", self.pushes, methods=["GET", "POST"]),
            Route(f"{AT}/tasks/{{task}}/pushNotificationConfigs/{{push}}", self.push, methods=["GET", "DELETE"]),
        ]

    async def card(self, request: Request) -> Response:
        """GET who this agent is, and how it is spoken to."""
        scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
        url = f"{'https' if scheme == 'https' else 'http'}://{request.headers.get('host', request.url.netloc)}{AT}"
        told = Card(
            name="headrace",
            description="An agent with a workspace: it does tasks with files, commands and pages, within its owner's budget and leave.",
            version=self._version,
            supported_interfaces=(
                Interface(url=url, protocol_binding="JSONRPC", protocol_version=VERSION),
                Interface(url=url, protocol_binding="HTTP+JSON", protocol_version=VERSION),
            ),
            capabilities={"streaming": True, "pushNotifications": True, "extendedAgentCard": False},
            security_schemes={"key": {"httpAuthSecurityScheme": {"scheme": "bearer", "description": "A key of this server."}}},
            security_requirements=({"schemes": {"key": {"list": []}}},),
            default_input_modes=("text/plain", "application/json", "application/octet-stream"),
            default_output_modes=("text/plain", "application/octet-stream"),
            skills=SKILLS,
        )
        return Response(msgspec.json.encode(told), media_type="application/json", headers={"cache-control": "no-store"})

    # JSON-RPC.

    async def call(self, request: Request) -> Response:
        """POST a call of JSON-RPC."""
        try:
            visitor = self._visitors.by_key(request)
        except InvalidApiKey as error:
            return _unknown(failure(None, Fault(INTERNAL, error.message)))
        call = Call("")
        try:
            call = call_of(await body_of(request, BODY_BYTES_MAX))
            check_version(_version_of(request))
            if call.method in self._streams:
                return _stream(await self._streams[call.method](visitor, call), lambda said: result(call.id, said))
            answer = await self._calls.get(call.method, _no_method)(visitor, call)
            return Response(result(call.id, answer), media_type="application/json")
        except (Fault, HeadraceError) as error:
            fault = error if isinstance(error, Fault) else _fault(error)
            return Response(failure(call.id, fault), media_type="application/json")

    async def _send(self, visitor: Visitor, call: Call) -> Answered:
        return Answered(task=await self._tasks.send(visitor, params_of(call.params, SendMessage)))

    # HTTP with JSON.

    async def send(self, request: Request) -> Response:
        """POST a message: a task, or more about one."""

        async def work(visitor: Visitor) -> Any:
            asked = params_of(await body_of(request, BODY_BYTES_MAX), SendMessage)
            return Answered(task=await self._tasks.send(visitor, asked))

        return await self._answered(request, work)

    async def stream(self, request: Request) -> Response:
        """POST the same, and hear what happens."""

        async def work(visitor: Visitor) -> Stream:
            return await self._tasks.stream(visitor, params_of(await body_of(request, BODY_BYTES_MAX), SendMessage))

        return await self._streamed(request, work)

    async def list(self, request: Request) -> Response:
        """GET my tasks."""
        return await self._answered(request, lambda visitor: self._tasks.list(visitor, query_of(dict(request.query_params), ListTasks)))

    async def task(self, request: Request) -> Response:
        """GET one of them."""
        asked = {**request.query_params, "id": request.path_params["task"]}
        return await self._answered(request, lambda visitor: self._tasks.get(visitor, query_of(asked, OneTask)))

    async def cancel(self, request: Request) -> Response:
        """POST: stop it."""
        return await self._answered(request, lambda visitor: self._tasks.cancel(visitor, OneTask(id=request.path_params["task"])))

    async def subscribe(self, request: Request) -> Response:
        """GET or POST: hear what happens to it from now on."""
        return await self._streamed(request, lambda visitor: self._tasks.subscribe(visitor, OneTask(id=request.path_params["task"])))

    async def pushes(self, request: Request) -> Response:
        """GET which addresses are told of it. POST: one more."""
        task = request.path_params["task"]

        async def work(visitor: Visitor) -> Any:
            if request.method == "GET":
                return await self._pushes.list(visitor, ListPushes(task_id=task))
            asked = params_of(await body_of(request, BODY_BYTES_MAX), PushConfig)
            return await self._pushes.create(visitor, msgspec.structs.replace(asked, task_id=task))

        return await self._answered(request, work)

    async def push(self, request: Request) -> Response:
        """GET one of them. DELETE: it is told nothing any more."""
        asked = OnePush(task_id=request.path_params["task"], id=request.path_params["push"])
        work = self._pushes.delete if request.method == "DELETE" else self._pushes.get
        return await self._answered(request, lambda visitor: work(visitor, asked))

    async def _answered(self, request: Request, work: Callable[[Visitor], Awaitable[Any]]) -> Response:
        return await self._guarded(request, work, lambda value: Response(msgspec.json.encode(value), media_type=MEDIA_TYPE))

    async def _streamed(self, request: Request, work: Callable[[Visitor], Awaitable[Stream]]) -> Response:
        return await self._guarded(request, work, lambda said: _stream(said, msgspec.json.encode))

    async def _guarded(self, request: Request, work: Callable[[Visitor], Awaitable[Any]], answer: Callable[[Any], Response]) -> Response:
        try:
            visitor = self._visitors.by_key(request)
        except InvalidApiKey as error:
            return _unknown(refusal(Fault(INTERNAL._replace(http=401, status="UNAUTHENTICATED"), error.message)))
        try:
            check_version(_version_of(request))
            return answer(await work(visitor))
        except (Fault, HeadraceError) as error:
            fault = error if isinstance(error, Fault) else _fault(error)
            return Response(refusal(fault), fault.kind.http, media_type=MEDIA_TYPE)


def _version_of(request: Request) -> str:
    return request.headers.get(VERSION_HEADER) or request.query_params.get("A2A-Version", "")


def _fault(error: HeadraceError) -> Fault:
    return Fault(INVALID_PARAMS if error.side is Side.CLIENT else INTERNAL, error.message)


def _unknown(body: bytes) -> Response:
    return Response(body, 401, media_type="application/json", headers={"www-authenticate": "Bearer"})


def _stream(said: Stream, write: Callable[[Streamed], bytes]) -> Response:
    async def frames() -> AsyncIterator[bytes]:
        try:
            async for one in said:
                yield b"data: " + write(one) + b"\n\n"
        except Fault:
            return  # the task is gone meanwhile
        finally:
            await said.aclose()

    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(frames(), media_type="text/event-stream", headers=headers)


async def _no_method(visitor: Visitor, call: Call) -> Any:
    raise Fault(METHOD_NOT_FOUND, f"There is no method {call.method[:100]!r}.")


async def _no_card(visitor: Visitor, call: Call) -> Any:
    raise Fault(NO_EXTENDED_CARD, "There is one card, for everybody.")
