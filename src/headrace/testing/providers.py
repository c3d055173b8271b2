"""What every adapter must pass, whatever it speaks to.

    await check_provider(provider, ask)                                   an answer to its end
    await check_leaving(provider, ask, after=1, stopped=upstream_idle)    a client who leaves in the middle
    await check_failure(provider, ask, UpstreamOverloaded)                an upstream that fails

Each takes the provider as it is in production, at an upstream that the caller has made to answer, to go on talking or to fail.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar, assert_never

import msgspec

from headrace.core.ask import Ask
from headrace.core.errors import HeadraceError, Side
from headrace.core.stream import Finished, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used, Verbatim
from headrace.core.usage import Usage
from headrace.providers import Provider
from headrace.testing.scripted import ScriptedListener

Failure = TypeVar("Failure", bound=HeadraceError)
SOON_S = 5.0


async def check_provider(provider: Provider, ask: Ask, *, tells_usage: bool = True) -> list[Said]:
    """An answer that goes to its end keeps the law of the stream and stays within the ask's bounds; returns what was said."""
    listener = ScriptedListener()
    await provider.answer(ask, listener)
    said = listener.heard
    check_law(said)
    usage = next(one.usage for one in said if isinstance(one, Used))
    if tells_usage:
        assert usage is not None, "this upstream tells what was used, and the adapter must find it"
    if usage is not None:
        check_usage(usage, ask)
    if not ask.stream:
        assert sum(isinstance(one, Verbatim) for one in said) <= 1, "an unstreamed answer is relayed as one whole"
    return said


async def check_waiting(provider: Provider, ask: Ask) -> None:
    """A client who reads nothing for a while: nothing is said after it asked to wait, and all of it once it reads again."""
    listener = ScriptedListener(lambda count: listener.stall() if count == 1 else None)
    async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(provider.answer(ask, listener))
        await listener.heard_at_least(1)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(listener.heard) == 1, "who must wait is told nothing more"
        listener.flow()
    check_law(listener.heard)


async def check_leaving(
    provider: Provider, ask: Ask, *, after: int, stopped: Callable[[], Awaitable[None]], knows_usage: bool = False
) -> None:
    """A client who leaves after `after` events: the work upstream stops (`stopped` returns), and an adapter that `knows_usage` has told
    the hearer what was used. The upstream must be one that would go on for long."""
    listener = ScriptedListener()
    async with asyncio.timeout(SOON_S):
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(provider.answer(ask, listener))
            await listener.heard_at_least(after)
            answer.cancel()
        assert not any(isinstance(one, Used) for one in listener.heard), "the upstream was at its end already: this check says nothing"
        await stopped()
    known = listener.usage or listener.usage_likely
    if knows_usage:
        assert known is not None, "the adapter knows what was used, and must say so while it answers"
    if known is not None:
        check_usage(known, ask)


async def check_failure(provider: Provider, ask: Ask, expected: type[Failure]) -> Failure:
    """The upstream fails: raised as `expected`, never said; returns what was raised."""
    listener = ScriptedListener()
    failure = await _failure(provider, ask, listener)
    assert isinstance(failure, expected), f"{expected.__name__} expected, not {failure!r}"
    assert str(failure), "a failure says what happened"
    assert failure.retry_after_ms is None or failure.retry_after_ms >= 0, "the time to wait is not in the past"
    if failure.side is Side.CLIENT:
        assert not listener.heard, "what the client did wrong is known before anything is said"
    assert not any(isinstance(one, Used) for one in listener.heard), "an answer that is settled is whole"
    return failure


async def _failure(provider: Provider, ask: Ask, listener: ScriptedListener) -> HeadraceError | None:
    try:
        await provider.answer(ask, listener)
    except HeadraceError as failure:
        return failure
    return None


def check_usage(usage: Usage, ask: Ask) -> None:
    """Counts are counts, and within what the ask was admitted with."""
    assert min(msgspec.structs.astuple(usage)) >= 0, f"negative counts: {usage}"
    assert usage.tokens_in <= ask.tokens_in_max, f"{usage.tokens_in} tokens in, over the bound of {ask.tokens_in_max}"
    if ask.tokens_out_max is not None:
        assert usage.tokens_out <= ask.tokens_out_max, f"{usage.tokens_out} tokens out, over the bound of {ask.tokens_out_max}"


def check_law(said: Sequence[Said]) -> None:
    """The law of `core.stream`: things said, one Finished a choice, one Used, and after it at most Verbatim.

    A relayed dialect says Verbatim only, which holds its finishes itself.
    """
    open_calls: set[tuple[int, int]] = set()
    begun: set[int] = set()
    finished: set[int] = set()
    used = False
    for one in said:
        assert not used or isinstance(one, Verbatim), f"{one!r} after the usage, where only held bytes may follow"
        match one:
            case Verbatim(data=data):
                assert data, "bytes are said where there are any"
                continue
            case Used():
                used = True
                continue
            case Finished(choice=choice):
                assert choice not in finished, f"choice {choice} finishes twice"
                finished.add(choice)
            case ToolCallBegun(index=index, choice=choice, id=id, name=name):
                assert id, "a tool call has an id"
                assert name, "a tool call has a name"
                assert (choice, index) not in open_calls, f"tool call {index} begins twice"
                assert choice not in finished, f"choice {choice} is over"
                open_calls.add((choice, index))
            case ToolCallArguments(index=index, choice=choice):
                assert (choice, index) in open_calls, f"arguments of tool call {index}, which has not begun"
                assert choice not in finished, f"choice {choice} is over"
            case Text(choice=choice) | Reasoning(choice=choice):
                assert choice not in finished, f"choice {choice} is over"
            case never:
                assert_never(never)
        begun.add(choice)
    assert used, "a stream that ends says once what it used"
    assert begun == finished, f"choices {sorted(begun - finished)} are never finished"
