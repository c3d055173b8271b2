"""A request for a response, made whole: with what is kept of those before it, and as every pool can be asked for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headrace.api.asking import Reader
from headrace.core.ask import Ask
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import InvalidRequest, NotFound, PreviousResponseNotFound
from headrace.core.identity import Principal
from headrace.core.native import Native
from headrace.gateway import Gateway
from headrace.storage import Archive, context_of, conversation_of, items_of
from headrace.wire.responses_answer import Manner, ResponseEvents
from headrace.wire.responses_head import head_for
from headrace.wire.responses_native import anew, passes
from headrace.wire.responses_request import ENCRYPTED, LOGPROBS, ResponsesRequest, chat_for, read_request

Items = list[dict[str, Any]]


def owner_of(principal: Principal) -> str:
    """Whose what is kept is: a project's."""
    return f"{principal.organization}/{principal.project}"


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

    def __init__(self, gateway: Gateway, clock: Clock, archive: Archive) -> None:
        self._clock, self._archive, self._reader = clock, archive, Reader(gateway, clock)

    async def read(
        self,
        id: str,
        principal: Principal,
        headers: Mapping[bytes, bytes],
        body: bytes,
        *,
        stream: bool | None = None,
        remembered: Mapping[str, Items] | None = None,
    ) -> Asked:
        """`stream`: however the client asked. Raises InvalidRequest and its kin, PreviousResponseNotFound, NotFound."""
        request, owner = read_request(body), owner_of(principal)
        self._reader.checked(request.model)
        streams = bool(request.stream) if stream is None else stream
        before = await self.before(request, owner, remembered or {})
        own = referred(request.items, before)
        asked = chat_for(request, body, [*before, *own], stream=streams)
        ask = self._reader.chat(id, principal, headers, asked.body)
        whole = passes(request, body) and stream is None
        native = Native(
            dialect="responses",
            body=body if whole else anew(body, [*before, *own], stream=streams),
            changes=asked.changes,
            untold=asked.untold,
            param=asked.param,
        )
        include = request.include or ()
        summary = request.reasoning is not None and bool(request.reasoning.summary or request.reasoning.generate_summary)
        return Asked(
            request=request,
            own=own,
            before=before,
            ask=msgspec.structs.replace(ask, native=native, tokens_in_max=max(ask.tokens_in_max, len(native.body))),
            manner=Manner(kinds=asked.kinds, summary=summary, encrypted=ENCRYPTED in include, logprobs=LOGPROBS in include),
            owner=owner,
            created_s=self._clock.moment() // SECOND,
            chained=request.previous_response_id is not None and request.previous_response_id not in (remembered or {}),
        )

    async def before(self, request: ResponsesRequest, owner: str, remembered: Mapping[str, Items]) -> Items:
        """All that was said before, where the request goes on from it."""
        if (previous := request.previous_response_id) is not None:
            if previous in remembered:
                return remembered[previous]
            context = await self._archive.run(context_of, owner, previous, self._clock.moment() // SECOND)
            if context is None:
                raise PreviousResponseNotFound(previous)
            return context
        if (conversation := request.conversation_id) is not None:
            if await self._archive.run(conversation_of, owner, conversation) is None:
                raise NotFound("Conversation", conversation)
            return await self._archive.run(items_of, owner, conversation)
        return []


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
