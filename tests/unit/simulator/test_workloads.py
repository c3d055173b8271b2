"""Synthetic traffic is a function of its seed; traces are read as they are published."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from headrace.simulator.calls import Call, Workload
from headrace.simulator.chance import normals
from headrace.simulator.synthetic import Source, Surge, Synthetic
from headrace.simulator.traces import LOADERS, As, azure, burstgpt, mooncake, servegen, sessions, usage

AS = As(model="m")
CHAT = Source(
    name="chat",
    traffic_class="realtime",
    model="m",
    sessions_per_s=5,
    tokens_in=500,
    tokens_out=50,
    tokens_shared=200,
    turns=4,
    tokens_added=20,
    think_s=10,
    swing=0.0,
)


def made(seed: int = 1, *, scale: float = 1.0, surges: Sequence[Surge] = ()) -> Synthetic:
    return Synthetic([CHAT], seed=seed, duration_ms=600_000, scale=scale, surges=surges)


def test_the_seed_is_all_there_is():
    assert list(made().calls()) == list(made().calls())
    assert list(made(2).calls()) != list(made().calls())


def test_normals_are_those_of_the_library_whatever_is_drawn_between():
    one, other = Random(7), Random(7)
    normal, drawn = normals(one), list[tuple[float, float]]()
    for at in range(20):
        drawn.append((next(normal), other.gauss()))
        if at % 3 == 0:
            drawn.append((one.random(), other.random()))
    assert all(ours == theirs for ours, theirs in drawn)


def test_rates_lengths_and_scale_are_as_told():
    calls = list(made().calls())
    assert len(calls) == pytest.approx(3_000, rel=0.1)
    assert sum(call.tokens_in for call in calls) / len(calls) == pytest.approx(500, rel=0.1)
    assert sum(call.tokens_out for call in calls) / len(calls) == pytest.approx(50, rel=0.1)
    assert len(list(made(scale=0.1).calls())) == pytest.approx(300, rel=0.2)
    assert [call.at_ms for call in calls] == sorted(call.at_ms for call in calls)
    assert made().expected == pytest.approx(12_000, rel=0.01)


def test_a_session_grows_and_ends():
    workload = made()
    call = next(one for one in workload.calls() if one.session >= 0)
    turns = [call]
    while (following := workload.after(turns[-1], turns[-1].at_ms + 1_000, answered=True)) is not None:
        turns.append(following)
    assert len(turns) > 1
    for before, after in pairwise(turns):
        assert after.tokens_in > before.tokens_in + before.tokens_out
        assert after.affinity == before.affinity
        assert sum(tokens for _, tokens in after.segments) == after.tokens_in
    other = next(one for one in made().calls() if one.session >= 0)
    assert workload.after(other, 5_000.0, answered=False) is None


def test_sessions_have_the_turns_they_are_told():
    workload = made()
    count = sessions_of = 0
    for call in list(workload.calls())[:1_000]:
        sessions_of += 1
        at: Call | None = call
        while at is not None:
            count += 1
            at = workload.after(at, at.at_ms + 1, answered=True)
    assert count / sessions_of == pytest.approx(4, rel=0.1)
    tokens_in, cached, tokens_out = CHAT.shape
    assert (tokens_in, tokens_out) == (500 + 3 * 70, 50)
    assert cached == pytest.approx(0.75 * 690 + 0.25 * 200)


def test_a_surge_of_one_tenant():
    usual = list(made().calls())
    more = list(made(surges=[Surge(from_ms=0, to_ms=600_000, factor=3.0, source="chat", tenant=19)]).calls())
    assert len(more) == pytest.approx(3 * len(usual), rel=0.1)
    assert sum(call.tenant == 19 for call in more) / len(more) == pytest.approx(2 / 3 + 0.01, abs=0.05)


def test_days_have_nights():
    source = Source(
        name="s", traffic_class="batch", model="m", sessions_per_s=1, tokens_in=1, tokens_out=1, swing=1.0, weights=(0, 1, 0, 0, 0)
    )
    assert source.rate(0, 14.0) == pytest.approx(2.0)
    assert source.rate(0, 2.0) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("wrong", [{"turns": 0.5}, {"swing": 2.0}, {"weights": (1.0,)}, {"tokens_in": 0}])
def test_sources_that_cannot_be(wrong):
    fields: dict[str, Any] = {"name": "s", "traffic_class": "batch", "model": "m", "sessions_per_s": 1, "tokens_in": 1, "tokens_out": 1}
    with pytest.raises(ValueError, match="source 's'"):
        Source(**{**fields, **wrong})


def shown(workload: Workload) -> list[tuple[int, int, int]]:
    return [(round(call.at_ms), call.tokens_in, call.tokens_out) for call in workload.calls()]


def test_azure():
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens\n", "2023-11-16 18:17:03.9799600,4808,10\n", "2023-11-16 18:17:04.0319600,3180,8\n"]
    assert shown(azure(lines, AS)) == [(0, 4_808, 10), (52, 3_180, 8)]
    assert shown(azure(lines, As(model="m", speed=2.0)))[1][0] == 26


def test_mooncake_has_its_blocks():
    lines = ['{"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [0, 9]}', ""]
    call = next(mooncake(lines, AS).calls())
    assert call.segments == ((1, 512), (10, 188))
    assert call.affinity == 10


def test_burstgpt_leaves_failures_out():
    head = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    calls = list(burstgpt([head, "5,a,1,x,100,10,110,c\n", "6,a,1,x,50,0,50,c\n", "8,,1,x,70,7,77,c\n"], AS).calls())
    assert [(call.at_ms, call.tokens_in) for call in calls] == [(0.0, 100), (3_000.0, 70)]
    assert calls[0].segments[0][1] == 100
    assert calls[1].segments == ()


def test_servegen_draws_arrivals_from_windows():
    head = "category,model,client,t,rate,cv,dist,p1,p2,mean_in,mean_out,mean_reason\n"
    lines = [head, "language,m-large,3,0,1.0,1.0,Gamma,1,1,400,100,\n", "language,m-small,3,0,9.0,1.0,Gamma,1,1,400,100,\n"]
    calls = list(servegen(lines, AS).calls())
    assert len(calls) == pytest.approx(600, rel=0.2)
    assert {call.tenant for call in calls} == {3}
    assert calls == list(servegen(lines, AS).calls())


def test_sessions_ask_again_when_answered_and_are_counted_once():
    head = "trace,agent,idx,t,type,model,in,out,blocks,lcp_prev_blocks,hit_any_blocks,api_time,think_time,stop,tool_tokens,system_tokens\n"
    rows = [
        "{},root,0,0,n,c,6400,10,100,0,0,1,0,t,0,0\n",
        "{},root,1,9,n,c,7000,20,110,100,100,1,4.5,t,0,0\n",
        "{},root,2,9,n,c,900,20,14,0,0,1,1,t,0,0\n",
    ]
    workload = sessions([head, *(row.format("a") for row in rows), *(row.format("copy") for row in rows)], AS)
    first, *others = workload.calls()
    assert others == []
    second = workload.after(first, 2_000.0, answered=True)
    assert second is not None
    assert (second.at_ms, second.tokens_in) == (6_500.0, 7_000)
    assert second.segments[0][0] == first.segments[0][0]
    third = workload.after(second, 9_000.0, answered=True)
    assert third is not None
    assert third.segments[0][0] != first.segments[0][0]
    assert workload.after(third, 9_000.0, answered=True) is None


def test_usage_says_its_model_and_class():
    lines = ["at,model,class,tokens_in,tokens_out\n", "2026-11-01T10:00:00+00:00,n,coding,100,10\n", "2026-11-01T10:00:01+00:00,,,50,\n"]
    calls = list(usage(lines, AS).calls())
    assert [(call.model, call.traffic_class, call.at_ms) for call in calls] == [("n", "coding", 0.0), ("m", "enterprise", 1_000.0)]


def test_every_loader_refuses_what_is_not_its_own():
    for name, load in LOADERS.items():
        with pytest.raises((KeyError, ValueError)):
            list(load(["what,ever\n", "1,2\n"], AS).calls()) or pytest.fail(name)
