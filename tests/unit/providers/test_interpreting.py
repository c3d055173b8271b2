"""Between clients of another dialect and adapters: who is asked natively, who in a chat, and what the client hears of either."""

import json

import msgspec
import pytest

from headrace.core.ask import Ask
from headrace.core.errors import HeadraceError, NotTranslatable, UpstreamOverloaded
from headrace.core.native import ClientDialect, Native
from headrace.core.stream import Finished, Said, Text, Used, Verbatim
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.providers import Hearer, Interpreter
from headrace.testing.builders import an_ask
from headrace.testing.providers import check_failure, check_provider
from headrace.testing.scripted import ScriptedListener, ScriptedProvider

OK = (Text("hi"), Finished("stop"), Used(Usage(10, output=2)))
WHOLE = json.dumps({"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}).encode()
CHUNKS = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
CHANGED = Change("dropped", "top_k", "nobody knows why")


def native(dialect: ClientDialect = "messages", **more: object) -> Native:
    return msgspec.structs.replace(Native(dialect=dialect, body=b"native"), **more)


def asked(told: Native | None, *, stream: bool = True, strict: bool = False, body: bytes = b"{}") -> Ask:
    return msgspec.structs.replace(an_ask(), native=told, stream=stream, strict=strict, body=body)


async def test_it_is_a_provider() -> None:
    await check_provider(Interpreter(ScriptedProvider(*OK), name="p"), an_ask())
    await check_provider(Interpreter(ScriptedProvider(*OK), name="p"), asked(native()))
    failing = Interpreter(ScriptedProvider(UpstreamOverloaded("busy")), name="p")
    await check_failure(failing, asked(native()), UpstreamOverloaded)


async def test_who_speaks_the_dialect_is_asked_in_it() -> None:
    provider, listener = ScriptedProvider(Verbatim(b"a"), Used(None), Verbatim(b"b")), ScriptedListener()
    ask = asked(native())
    await Interpreter(provider, name="p", speaks=frozenset({"messages"})).answer(ask, listener)
    assert provider.asked == [ask]
    assert listener.heard == [Verbatim(b"a"), Used(None), Verbatim(b"b")]


@pytest.mark.parametrize("told", [native("responses"), native(relayable=False)])
async def test_who_does_not_is_asked_in_a_chat(told: Native) -> None:
    provider, listener = ScriptedProvider(*OK), ScriptedListener()
    await Interpreter(provider, name="p", speaks=frozenset({"messages"})).answer(asked(told), listener)
    assert provider.asked == [asked(None)]
    assert listener.heard == list(OK)


BYTES: list[tuple[bool, tuple[Said, ...]]] = [
    (True, (Verbatim(CHUNKS[:60]), Verbatim(CHUNKS[60:]), Used(Usage(10, output=2)), Verbatim(b"data: [DONE]\n\n"))),
    (False, (Used(Usage(10, output=2)), Verbatim(WHOLE))),
]


async def test_bytes_of_a_chat_are_read() -> None:
    for stream, said in BYTES:
        steps = (Verbatim(CHUNKS), *said[2:]) if stream else said
        listener = ScriptedListener()
        await Interpreter(ScriptedProvider(*steps), name="p").answer(asked(native(), stream=stream), listener)
        assert listener.heard == list(OK)


async def test_a_plain_server_gets_a_plain_chat_and_the_client_is_told() -> None:
    provider, listener = ScriptedProvider(*OK), ScriptedListener()
    body = b'{"tools":[{"cache_control":{}}]}'
    await Interpreter(provider, name="p", plain=True).answer(asked(native(changes=(CHANGED,)), body=body), listener)
    assert provider.asked[0].body == b'{"tools":[{}]}'
    assert [change.param for change in listener.changes] == ["top_k", "tools[0].cache_control"]


async def test_what_the_adapter_changes_is_told_behind_it() -> None:
    class Changing(ScriptedProvider):
        async def answer(self, ask: Ask, hearer: Hearer) -> None:
            hearer.translated((Change("dropped", "seed", "no seeds"),))
            hearer.usage_likely = Usage(1)
            hearer.usage = Usage(2)
            assert (hearer.usage, hearer.usage_likely, hearer.verbatim) == (Usage(2), Usage(1), None)
            assert not hearer.gate.must_wait
            await super().answer(ask, hearer)

    listener = ScriptedListener()
    await Interpreter(Changing(*OK), name="p").answer(asked(native(changes=(CHANGED,))), listener)
    assert [change.param for change in listener.changes[1:]] == ["top_k", "seed"]  # all of it, each time
    assert (listener.usage, listener.usage_likely) == (Usage(2), Usage(1))


@pytest.mark.parametrize(
    ("told", "strict"), [(native(untold="only Anthropic has it.", param="container"), False), (native(changes=(CHANGED,)), True)]
)
async def test_what_a_chat_can_not_say_is_refused_and_may_go_elsewhere(told: Native, strict: bool) -> None:
    provider = ScriptedProvider(*OK)
    with pytest.raises(NotTranslatable) as refused:
        await Interpreter(provider, name="p").answer(asked(told, strict=strict), ScriptedListener())
    assert refused.value.elsewhere
    assert refused.value.param in ("container", "top_k")
    assert provider.asked == []


async def test_it_is_probed_as_its_provider_is() -> None:
    class Dead(ScriptedProvider):
        async def probe(self) -> None:
            raise UpstreamOverloaded("busy")

    with pytest.raises(HeadraceError):
        await Interpreter(Dead(), name="p").probe()
