"""The suite that adapters must pass: it passes what keeps the law, and names what breaks it."""

import asyncio

import pytest

from headrace.core.errors import HeadraceError, InvalidRequest, QueueFull, UpstreamCut, UpstreamOverloaded
from headrace.core.stream import Finished, Text, ToolCallArguments, ToolCallBegun, Used, Verbatim
from headrace.core.usage import Usage
from headrace.testing.builders import an_ask
from headrace.testing.providers import check_failure, check_law, check_leaving, check_provider, check_waiting
from headrace.testing.scripted import ScriptedProvider, Silence, Spent, Step

HI, END, USED = Text("hi"), Finished("stop"), Used(Usage(10, output=2))
CALL, ARGUMENTS = ToolCallBegun(0, "call_1", "f"), ToolCallArguments(0, "{}")

LAWFUL = [
    [HI, END, USED],
    [END, USED],
    [Verbatim(b"x"), USED, Verbatim(b"y")],
    [USED],
    [HI, CALL, ARGUMENTS, ARGUMENTS, Finished("tool_calls"), USED],
    [HI, Text("ho", choice=1), END, Finished("length", choice=1), USED],
]


@pytest.mark.parametrize("steps", LAWFUL)
async def test_what_keeps_the_law_passes(steps: list[Step]):
    assert await check_provider(ScriptedProvider(*steps), an_ask()) == steps


UNLAWFUL = [
    ([], "says once what it used"),
    ([HI, END], "says once what it used"),
    ([HI, USED], r"choices \[0\] are never finished"),
    ([HI, END, Text("x", choice=1), USED], r"choices \[1\] are never finished"),
    ([HI, END, END, USED], "finishes twice"),
    ([HI, END, HI, USED], "choice 0 is over"),
    ([END, CALL, USED], "choice 0 is over"),
    ([CALL, END, ARGUMENTS, USED], "choice 0 is over"),
    ([ARGUMENTS, END, USED], "has not begun"),
    ([CALL, CALL, END, USED], "begins twice"),
    ([ToolCallBegun(0, "", "f"), END, USED], "has an id"),
    ([ToolCallBegun(0, "c", ""), END, USED], "has a name"),
    ([HI, END, USED, USED], "after the usage"),
    ([USED, END], "after the usage"),
    ([Verbatim(b""), USED], "bytes are said"),
    ([Used(None)], "tells what was used"),
    ([Used(Usage(-1))], "negative counts"),
    ([Used(Usage(1_001))], "1001 tokens in, over the bound of 1000"),
    ([Used(Usage(1, output=400, reasoning=101))], "501 tokens out, over the bound of 500"),
]


@pytest.mark.parametrize(("steps", "words"), UNLAWFUL)
async def test_what_breaks_it_is_named(steps: list[Step], words: str):
    with pytest.raises(AssertionError, match=words):
        await check_provider(ScriptedProvider(*steps), an_ask())


async def test_an_upstream_that_never_tells_usage_may_say_so():
    await check_provider(ScriptedProvider(HI, END, Used(None)), an_ask(), tells_usage=False)


async def test_an_unstreamed_answer_is_one_whole():
    pieces = ScriptedProvider(USED, Verbatim(b"{"), Verbatim(b"}"))
    await check_provider(pieces, an_ask(stream=True))
    with pytest.raises(AssertionError, match="one whole"):
        await check_provider(pieces, an_ask(stream=False))


async def test_waiting():
    await check_waiting(ScriptedProvider(HI, END, USED), an_ask())

    class Rushing(ScriptedProvider):
        async def answer(self, ask, hearer):
            for said in (HI, END, USED):
                hearer.hear(said)

    with pytest.raises(ExceptionGroup) as wrong:
        await check_waiting(Rushing(), an_ask())
    assert wrong.group_contains(AssertionError, match="told nothing more")


async def at_once() -> None:
    await asyncio.sleep(0)


async def test_leaving():
    await check_leaving(ScriptedProvider(HI, Silence()), an_ask(), after=1, stopped=at_once)
    await check_leaving(ScriptedProvider(Spent(Usage(3)), HI, Silence()), an_ask(), after=1, stopped=at_once, knows_usage=True)
    with pytest.raises(AssertionError, match="must say so"):
        await check_leaving(ScriptedProvider(HI, Silence()), an_ask(), after=1, stopped=at_once, knows_usage=True)
    with pytest.raises(AssertionError, match="over the bound"):
        await check_leaving(ScriptedProvider(Spent(Usage(3_000)), HI, Silence()), an_ask(), after=1, stopped=at_once)
    with pytest.raises(AssertionError, match="says nothing"):
        await check_leaving(ScriptedProvider(HI, USED, Silence()), an_ask(), after=1, stopped=at_once)


FAILURES = [
    ([UpstreamOverloaded("busy", retry_after_ms=5)], UpstreamOverloaded, None),
    ([HI, UpstreamCut("cut")], UpstreamCut, None),
    ([HI, UpstreamCut("cut")], UpstreamOverloaded, "UpstreamOverloaded expected, not UpstreamCut"),
    ([HI, END, USED], UpstreamCut, "UpstreamCut expected, not None"),
    ([HI, InvalidRequest("no")], InvalidRequest, "known before anything is said"),
    ([UpstreamCut("")], UpstreamCut, "says what happened"),
    ([HI, END, USED, UpstreamCut("cut")], UpstreamCut, "an answer that is settled is whole"),
    ([QueueFull("full", retry_after_ms=-1)], QueueFull, "not in the past"),
]


@pytest.mark.parametrize(("steps", "kind", "words"), FAILURES)
async def test_failing(steps: list[Step], kind: type[HeadraceError], words: str | None):
    if words is None:
        assert await check_failure(ScriptedProvider(*steps), an_ask(), kind) in steps
        return
    with pytest.raises(AssertionError, match=words):
        await check_failure(ScriptedProvider(*steps), an_ask(), kind)


def test_the_law_of_nothing_said():
    with pytest.raises(AssertionError):
        check_law([])
