"""A request for a response, made whole: with what is kept of those before it, and as every pool can be asked for it."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping, Sequence
from mimetypes import guess_type
from typing import Any

import msgspec

from headrace.api.asking import Reader, natively_in_max
from headrace.core.ask import Ask
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import InvalidRequest, NotFound, PreviousResponseNotFound
from headrace.core.identity import Principal
from headrace.core.native import Native
from headrace.core.rules import NO_RULES
from headrace.gateway import Gateway
from headrace.storage import Archive, Blobs, Context, StoredFile, context_of, conversation_of, file_of, items_of
from headrace.wire.messages_tokens import BYTES_A_TOKEN
from headrace.wire.responses_answer import Manner, ResponseEvents
from headrace.wire.responses_head import head_for
from headrace.wire.responses_native import anew, passes
from headrace.wire.responses_request import ENCRYPTED, LOGPROBS, ResponsesRequest, chat_for, read_request
from headrace.wire.responses_shortening import shortened

Items = list[dict[str, Any]]
NOTHING_SAID = Context([])
INLINED_BYTES_MAX = 16 * 1024 * 1024


def owner_of(principal: Principal) -> str:
    """Whose what is kept is: a project's."""
    return f"{len(principal.organization)}:{principal.organization}/{principal.project}"  # no two projects are one, whatever their names


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request: as it came, the items that are its own and those before them, and as the gateway is asked."""

    request: ResponsesRequest
    own: Items
    before: Items
    ask: Ask
    manner: Manner
    owner: str
    created_s: int
    chained: bool
    """What was said before is found by the response before this."""

    @property
    def id(self) -> str:
        return f"resp_{self.ask.request[4:]}"

    def events(self) -> ResponseEvents:
        return ResponseEvents(head_for(self.request, id=self.id, created_s=self.created_s), self.manner)


class Asking:
    """Reads requests. `remembered` are contexts that are kept nowhere but in a connection, by the ids of their responses."""

    def __init__(self, gateway: Gateway, clock: Clock, archive: Archive, files: Blobs) -> None:
        self._gateway, self._clock, self._archive, self._files = gateway, clock, archive, files
        self._reader = Reader(gateway, clock)

    async def read(
        self,
        id: str,
        principal: Principal,
        headers: Mapping[bytes, bytes],
        body: bytes,
        *,
        stream: bool | None = None,
        remembered: Mapping[str, Context] | None = None,
    ) -> Asked:
        """`stream`: however the client asked. Raises InvalidRequest and its kin, PreviousResponseNotFound, NotFound."""
        request, owner = read_request(body), owner_of(principal)
        self._reader.checked(request.model)
        streams = bool(request.stream) if stream is None else stream
        context = await self.before(request, owner, remembered or {})
        before = context.items
        own = referred(request.items, before)
        kept = [*before, *own]
        items = await self._inlined(kept, owner)
        shorter: bool | None = None
        if request.truncation == "auto" and (room := self._room(request)):
            fitting = shortened(items, room)
            shorter, items = fitting is not items, fitting
        asked = chat_for(request, body, items, stream=streams, shortened=shorter)
        ask = self._reader.chat(id, principal, headers, asked.body)
        whole = passes(request, body) and stream is None and items is kept
        native = Native(
            dialect="responses",
            body=body if whole else anew(body, items, stream=streams),
            changes=asked.changes,
            untold=asked.untold,
            param=asked.param,
            hosted=asked.hosted,
            open_ended=asked.open_ended,
        )
        include = request.include or ()
        summary = request.reasoning is not None and bool(request.reasoning.summary or request.reasoning.generate_summary)
        return Asked(
            request=request,
            own=own,
            before=before,
            ask=msgspec.structs.replace(
                ask,
                native=native,
                tokens_in_max=natively_in_max(ask, native.body),
                rules=ask.rules if context.rules is NO_RULES else ask.rules.and_(context.rules),
            ),
            manner=Manner(kinds=asked.kinds, summary=summary, encrypted=ENCRYPTED in include, logprobs=LOGPROBS in include),
            owner=owner,
            created_s=self._clock.moment() // SECOND,
            chained=request.previous_response_id is not None and request.previous_response_id not in (remembered or {}),
        )

    async def _inlined(self, items: Items, owner: str) -> Items:
        """Files that are kept here stand in the request itself, where their ids stood: no pool knows these."""
        wanted = {part["file_id"] for item in items for part in _parts(item) if isinstance(part.get("file_id"), str)}
        data: dict[str, tuple[str, str]] = {}
        for id in sorted(wanted):
            file = await self._archive.run(file_of, owner, id, self._now_s())
            if file is not None:  # another may know it
                data[id] = await asyncio.to_thread(_data_url, self._files, file)
        return (
            items
            if not data
            else [item | {"content": [_inlined(part, data) for part in _parts(item)]} if _parts(item) else item for item in items]
        )

    def _room(self, request: ResponsesRequest) -> int:
        """How many bytes may be said before the answer, roughly; 0 where the model's context is not known."""
        profile = self._gateway.world.snapshot.models[request.model]
        if profile.tokens_context_max is None:
            return 0
        answer = min(request.max_output_tokens or profile.tokens_out_max, profile.tokens_context_max // 2)
        others = len((request.instructions or "").encode()) + len(msgspec.json.encode(request.tools or ()))
        return max(1, round((profile.tokens_context_max - answer) * BYTES_A_TOKEN) - others)

    def _now_s(self) -> int:
        return self._clock.moment() // SECOND

    async def before(self, request: ResponsesRequest, owner: str, remembered: Mapping[str, Context]) -> Context:
        """All that was said before, where the request goes on from it."""
        if (previous := request.previous_response_id) is not None:
            if previous in remembered:
                return remembered[previous]
            context = await self._archive.run(context_of, owner, previous, self._now_s())
            if context is None:
                raise PreviousResponseNotFound(previous)
            return context
        if (id := request.conversation_id) is not None:
            conversation = await self._archive.run(conversation_of, owner, id)
            if conversation is None:
                raise NotFound("Conversation", id)
            return Context(await self._archive.run(items_of, owner, id), conversation.rules)
        return NOTHING_SAID


def referred(items: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]]) -> Items:
    """The items, each reference among them replaced by what it names; one that is there already, before them, is not said twice."""
    if not any(item.get("type") == "item_reference" for item in items):
        return list(items)
    known = {str(item["id"]): item for item in (*before, *items) if item.get("id") and item.get("type") != "item_reference"}
    there = {str(item.get("id")) for item in before}
    found: Items = []
    for at, item in enumerate(items):
        if item.get("type") != "item_reference":
            found.append(item)
        elif str(item.get("id")) not in known:
            raise InvalidRequest(f"Item with id '{item.get('id')}' not found.", param=f"input[{at}]")
        elif str(item.get("id")) not in there:
            found.append(known[str(item.get("id"))])
    return found


def _parts(item: dict[str, Any]) -> Items:
    """The parts of a message."""
    content = item.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _inlined(part: dict[str, Any], data: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    if part.get("file_id") not in data:
        return part
    name, url = data[part["file_id"]]
    rest = {field: value for field, value in part.items() if field != "file_id"}
    return rest | ({"image_url": url} if part.get("type") == "input_image" else {"filename": name, "file_data": url})


def _data_url(blobs: Blobs, file: StoredFile) -> tuple[str, str]:
    """Name and content of a kept file."""
    if file.size > INLINED_BYTES_MAX:
        raise InvalidRequest(f"File '{file.id}' is too large for a request: at most {INLINED_BYTES_MAX} bytes.", param="input")
    kind = guess_type(file.filename)[0] or "application/octet-stream"
    with blobs.read(file.id) as held:
        return file.filename, f"data:{kind};base64,{b64encode(held.read()).decode()}"
