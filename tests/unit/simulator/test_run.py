"""Stories of calls on the virtual clock: what the client got, and what the books say."""

from typing import Any

import msgspec
import pytest

from headrace.simulator.calls import Call
from headrace.simulator.checks import Broken, Checker
from headrace.simulator.faults import NewRule, Outage, PriceChange, Slow
from headrace.simulator.report import decode, encode
from headrace.simulator.run import Run
from headrace.simulator.sites import Vendor
from headrace.simulator.synthetic import Source, Synthetic
from headrace.simulator.training import Job
from tests.unit.simulator.builders import MODEL, a_call, a_run, a_service, a_site, a_vendor


def steady(count: int, every_ms: float = 50.0, **more: Any) -> list[Call]:
    return [a_call(at * every_ms, **more) for at in range(count)]


def test_one_call_takes_what_its_steps_take():
    report = a_run([a_site(replicas=1)], [a_call(100.0)]).go()
    one = report.classes[0]
    assert (report.arrived, report.served, report.in_flight) == (1, 1, 0)
    assert one.ttft_ms.mean == pytest.approx(10 + 0.1 + 5 + 30)  # the step, the sequence, 500 tokens, and the way
    assert one.tpot_ms.mean == pytest.approx(10.1)
    assert report.tokens_out == 20


def test_hours_are_paid_used_or_not_and_tokens_by_the_token():
    owned, sold = a_site(replicas=3), a_vendor(usd=2.0)
    report = a_run([owned], [a_call()], duration_s=3_600).go()
    assert report.cost_pico == 3 * 2 * 10**12
    report = a_run([sold], [a_call()]).go()
    assert report.cost_pico == 500 * 2_000_000 + 20 * 10_000_000
    assert report.usd_per_mtok == pytest.approx(report.cost_pico / 520 / 1e6)


def test_what_was_said_before_is_cached_and_cheaper_at_the_vendor():
    calls = [a_call(at * 1_000.0, segments=((7, 500),), affinity=7) for at in range(2)]
    report = a_run([a_vendor(usd=2.0)], calls).go()
    assert report.tokens_cached == 499
    assert report.pools[0].cost_pico == (501 * 2_000_000 + 499 * 200_000) + 40 * 10_000_000


def test_who_is_late_in_a_full_pool_waits_and_then_is_refused():
    site = a_site(replicas=1, concurrency_max=2, waiting_max=2)
    calls = [a_call(0.0, traffic_class="realtime", tokens_out=400, tenant=at) for at in range(6)]
    report = a_run([site], calls).go()
    one = report.classes[0]
    assert one.served + one.refused == 6
    assert set(one.refusals) == {"full"}
    patient = a_run([site], [msgspec.structs.replace(call, traffic_class="agentic") for call in calls]).go().classes[0]
    assert patient.served > one.served
    assert patient.wait_ms.p99 > 0


def test_a_dead_pool_is_left_and_another_serves():
    sites = [a_site("a"), a_site("b")]
    outage = Outage(pool="a", from_s=1.0, to_s=30.0)
    report = a_run(sites, steady(400), faults=[outage]).go()
    a, b = report.pools
    assert report.served + report.cut == 400
    assert report.refused == 0
    assert a.failed > 0
    assert b.served > a.served
    assert report.classes[0].spilled > 0


def test_who_had_heard_the_beginning_is_cut_off_and_nobody_else():
    report = a_run([a_site("a", replicas=1)], [a_call(0.0, tokens_out=400)], faults=[Outage(from_s=1.0, to_s=2.0)]).go()
    assert (report.cut, report.refused, report.served) == (1, 0, 0)
    report = a_run([a_vendor("a")], [a_call(0.0, tokens_out=4_000)], faults=[Outage(from_s=0.01, to_s=2.0)]).go()
    assert (report.cut, report.refused, report.served) == (0, 1, 0)
    report = a_run([a_vendor("a")], [a_call(0.0, tokens_out=4_000)], faults=[Outage(from_s=5.0, to_s=6.0)]).go()
    assert (report.cut, report.refused, report.served) == (1, 0, 0)


def test_who_was_sent_on_from_a_vendor_that_went_down_is_done_when_the_next_one_is():
    sites = [a_vendor("a", limits=Vendor(spread=0.0)), a_vendor("b", usd=2.0, limits=Vendor(spread=0.0))]
    usual, sent_on = (
        a_run(sites, [a_call(0.0, tokens_out=4_000)], policy="cheapest", faults=faults).go()
        for faults in ([], [Outage(vendor="a", from_s=0.1, to_s=60.0)])
    )
    assert [one.served for one in usual.pools] == [1, 0]
    assert [one.served for one in sent_on.pools] == [0, 1]
    assert sent_on.classes[0].ttft_ms.p50 == pytest.approx(usual.classes[0].ttft_ms.p50 + 100)


def test_what_hangs_is_noticed_late():
    sites = [a_site("a"), a_site("b")]
    prompt, late = (
        a_run(sites, steady(200), faults=[Outage(pool="a", from_s=0.0, to_s=60.0, fails_after_s=after)]).go().classes[0]
        for after in (0.001, 5.0)
    )
    assert late.ttft_ms.p99 > prompt.ttft_ms.p99 + 4_000


def test_slow_silicon_is_slow_for_as_long():
    slow = a_run([a_site()], steady(200), faults=[Slow(from_s=0.0, to_s=60.0, factor=3.0)]).go()
    usual = a_run([a_site()], steady(200)).go()
    assert slow.classes[0].tpot_ms.p50 == pytest.approx(3 * usual.classes[0].tpot_ms.p50, rel=0.25)  # slower silicon has more to do at once


def test_who_becomes_dear_is_asked_less():
    sites = [a_vendor("a", concurrency_max=1_000), a_vendor("b", usd=1.5, concurrency_max=1_000)]
    before = a_run(sites, steady(400), policy="cheapest").go()
    after = a_run(sites, steady(400), policy="cheapest", faults=[PriceChange(vendor="a", from_s=10.0, factor=3.0)]).go()
    assert [one.served for one in before.pools] == [400, 0]
    assert after.pools[0].served == 200
    assert after.pools[1].served == 200


def test_a_new_rule_keeps_data_where_it_may_be():
    sites = [a_site("us"), a_site("eu", jurisdictions=frozenset({"eu"}))]
    rule = NewRule(from_s=10.0, geography="eu", jurisdictions=("eu",))
    report = a_run(sites, steady(400, geography=1), faults=[rule]).go()
    assert report.pools[0].served < 110
    assert a_run(sites[:1], steady(400, geography=1), faults=[rule]).go().classes[0].refusals == {"forbidden": 200}


def test_a_vendor_that_says_later_is_asked_later():
    limited = a_vendor("v", limits=Vendor(requests_per_minute=60))
    report = a_run([limited, a_vendor("w", usd=9.0, concurrency_max=64)], steady(200), policy="cheapest").go()
    assert report.served == 200
    v, w = report.pools
    assert v.failed > 0
    assert v.served == pytest.approx(70, abs=10)
    assert w.served == 200 - v.served


def test_a_tenant_over_its_limit_is_refused_and_others_are_not():
    calls = [a_call(at * 10.0, tenant=at % 2 and 1 + at) for at in range(100)]
    report = a_run([a_site(replicas=8, concurrency_max=64)], calls, tenant_requests_per_minute=10).go()
    assert report.classes[0].refusals == {"limited": 40}


def test_jobs_train_while_it_is_quiet_and_yield():
    job = Job(name="tune", accelerator_hours=0.05, gang=1, starts_below=0.5, yields_above=0.9, checkpoint_min=1.0)
    report = a_run([a_site(replicas=4)], [a_call(0.0)], jobs=[job], duration_s=600.0).go()
    done = report.jobs[0]
    assert done.in_time
    assert done.done == 1.0
    assert report.pools[0].training_accelerator_hours > 0
    crowd = steady(3_000, 100.0, tokens_out=40)
    busy = a_run([a_site(replicas=4)], crowd, jobs=[msgspec.structs.replace(job, accelerator_hours=50.0)], duration_s=300.0).go()
    assert busy.jobs[0].finished_s is None
    assert busy.served + busy.refused + busy.cut + busy.in_flight == busy.arrived


def test_the_story_of_one_call():
    story = a_run([a_site("a"), a_site("b", jurisdictions=frozenset())], steady(5), watch=3).go().story
    told = "\n".join(story)
    for part in ("comes: enterprise", "is decided: send", "goes to", "its first token", "is done at"):
        assert part in told
    assert "0.150000 s" in story[0]


SOURCES = [
    Source(
        name="chat",
        traffic_class="realtime",
        model=MODEL,
        sessions_per_s=2,
        tokens_in=300,
        tokens_out=30,
        turns=3,
        tokens_added=50,
        think_s=2,
    ),
    Source(name="bulk", traffic_class="batch", model=MODEL, sessions_per_s=2, tokens_in=200, tokens_out=50),
]


def synthetic(seed: int = 1, plain: bool = True, **more: Any) -> Run:
    sites = [a_site("a"), a_site("b", service=a_service(held_ms=1e-4)), a_vendor()]
    workload = Synthetic(SOURCES, seed=seed, duration_ms=60_000)
    return a_run(sites, workload, plain=plain, seed=seed, policy="balanced", **more)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    first = encode(synthetic().go())
    assert encode(synthetic().go()) == first
    assert encode(synthetic(seed=2).go()) != first
    assert encode(decode(first)) == first


def test_the_compiled_fleet_tells_the_same():
    assert encode(synthetic(plain=False).go()) == encode(synthetic().go())


def test_what_settles_first_is_left_out():
    whole, settled = synthetic().go(), synthetic(settle_s=30.0).go()
    assert 0.3 * whole.served < settled.served < 0.7 * whole.served
    assert settled.served + settled.refused + settled.cut + settled.in_flight == settled.arrived


@pytest.mark.parametrize(
    "wrong", [{"policy": "best"}, {"duration_s": 0}, {"duration_s": float("nan")}, {"settle_s": 60.0}, {"tick_ms": 0.5}]
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=r"policy|above zero|settle_s"):
        a_run([a_site()], [], **wrong)


def test_a_broken_law_says_how_to_repeat_it():
    run = a_run([a_site()], [a_call()], seed=7)
    run.checker.arrived += 1
    with pytest.raises(Broken, match=r"run, seed=7 policy=least_loaded .*: served \+ refused"):
        run.go()


def opened() -> Checker:
    checker = Checker()
    checker.came(1, "batch", 10.0, 100)
    checker.sent(1, 1, 4)
    return checker


@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        (lambda c: c.came(1, "batch", 11.0, 100), "came twice"),
        (lambda c: c.came(2, "batch", 9.0, 100), "time went back"),
        (lambda c: c.sent(2, 1, 4), "call 2 was sent and is not on its way"),
        (lambda c: c.sent(1, 5, 4), "at most 4"),
        (lambda c: c.answered(2, 11.0, 12.0, 0, 1, 0), "call 2 was answered and is not on its way"),
        (lambda c: c.answered(1, 9.0, 12.0, 0, 1, 0), "first token at"),
        (lambda c: c.answered(1, 11.0, 12.0, 101, 1, 0), "101 of 100"),
        (lambda c: c.ended(2, heard=False), "call 2 ended and is not on its way"),
        (lambda c: c.close(inflight=0, waiting=0), "on their way"),
        (lambda c: c.compare("served", 1, 2), "served: the report says 1"),
    ],
)
def test_the_checker_breaks(breaks, why):
    checker = opened()
    with pytest.raises(Broken, match=why):
        breaks(checker)
    opened().close(inflight=1, waiting=0)
