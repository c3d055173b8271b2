"""The health of a pool: what closes it, for how long, how it comes back, and what is learned from its answers."""

from typing import Any

import pytest

from headrace.core.clock import MS, SECOND, Instant
from headrace.routing import Health, HealthSettings, Load
from headrace.routing.health import RETRY_AFTER_MS_MAX, outliers

T0 = 1_000 * SECOND
LIMIT = 100


def a_health(limit: int = LIMIT, **settings: Any) -> Health:
    return Health(Load(), limit, HealthSettings(**settings))


def answer(health: Health, now: Instant, ttft_ms: float | None = 100.0, duration_ms: float = 500.0, tokens_out: int = 11) -> None:
    health.answered(now, ttft_ms=ttft_ms, duration_ms=duration_ms, tokens_out=tokens_out)


def state(health: Health) -> str:
    return health.state


def fail(health: Health, now: Instant, times: int = 1) -> None:
    for _ in range(times):
        health.failed(now, "it broke")


def closed_ms(health: Health, now: Instant) -> float:
    return max(0, health.load.closed_until - now) / MS


def a_closed(**settings: Any) -> Health:
    """One that has failed too often, at T0."""
    health = a_health(**settings)
    fail(health, T0, 5)
    return health


def test_a_new_pool_is_open_to_all_that_it_can_take():
    health = a_health()
    assert (health.state, health.load.limit, health.load.closed_until, health.load.hindered) == ("open", LIMIT, 0, False)


# --------------------------------------------------------------------------------------------------------------------- closing


def test_failures_in_a_row_close_it():
    health = a_health(failures_max=3)
    fail(health, T0, 2)
    assert (health.state, health.load.hindered) == ("open", False)
    fail(health, T0)
    assert (health.state, health.load.closed_until, health.load.closed_for) == ("closed", T0 + 2_000 * MS, "it broke")
    assert health.load.hindered
    assert health.last_failure == "it broke"


def test_an_answer_between_begins_the_row_again():
    health = a_health(failures_max=3)
    for _ in range(5):
        fail(health, T0, 2)
        answer(health, T0)
    assert health.state == "open"


def test_a_share_of_failures_closes_it_when_enough_was_seen():
    health = a_health(failures_max=100, failure_share=0.5, samples_min=10)
    for _ in range(4):
        fail(health, T0)
        answer(health, T0)
    assert state(health) == "open", "four of eight, but only eight were seen"
    answer(health, T0)
    assert state(health) == "open", "an answer closes nothing"
    fail(health, T0)
    assert state(health) == "closed"


def test_less_than_the_share_does_not():
    health = a_health(failures_max=100, failure_share=0.5, samples_min=10)
    for _ in range(50):
        answer(health, T0)
        answer(health, T0)
        fail(health, T0)
    assert health.state == "open"


def test_what_is_long_past_does_not_count():
    health = a_health(failures_max=100, failure_share=0.5, samples_min=10, window_ms=1_000)
    fail(health, T0, 9)
    fail(health, T0 + 1_001 * MS)
    assert state(health) == "open"
    fail(health, T0 + 2_001 * MS, 9)
    assert state(health) == "closed"


def test_those_that_were_under_way_when_it_closed_make_it_no_worse():
    """Fifty requests die with their pool at once: that is one fault, and no trial has failed yet."""
    health = a_health(failures_max=5)
    fail(health, T0, 50)
    assert closed_ms(health, T0) == 2_000
    health.asked(T0 + 2_000 * MS)
    fail(health, T0 + 2_000 * MS)
    assert closed_ms(health, T0 + 2_000 * MS) == 4_000


# ------------------------------------------------------------------------------------------------------------------ coming back


def test_when_it_has_rested_one_request_tries_it():
    health, later = a_closed(), T0 + 2_000 * MS
    health.tick(later)
    assert (health.state, health.load.closed_until <= later) == ("closed", True), "whoever asks is let through"
    health.asked(later)
    assert health.state == "trying"
    assert closed_ms(health, later) == 60_000, "and nobody after, before that one has ended"
    answer(health, later)
    assert (health.state, health.load.closed_until, health.load.closed_for) == ("recovering", 0, "")
    assert not health.load.hindered


def test_each_trial_that_fails_closes_it_for_twice_as_long():
    health, now = a_closed(closed_ms=2_000, closed_ms_max=20_000), T0
    spans: list[float] = []
    for _ in range(6):
        spans.append(closed_ms(health, now))
        now = health.load.closed_until
        health.asked(now)
        fail(health, now)
    assert spans == [2_000, 4_000, 8_000, 16_000, 20_000, 20_000]


def test_however_often_it_fails_the_figures_stay_small():
    health, now = a_closed(closed_ms=1, closed_ms_max=10**9), T0
    for _ in range(100):
        now = health.load.closed_until
        health.asked(now)
        fail(health, now)
    assert closed_ms(health, now) == 1 << 16


def test_a_trial_that_never_ends_is_followed_by_another_one_and_not_by_all():
    health, later = a_closed(closed_ms_max=60_000), T0 + 2_000 * MS
    health.asked(later)
    later = health.load.closed_until
    health.tick(later)
    health.asked(later)
    assert closed_ms(health, later) == 60_000


def test_a_trial_whose_client_left_may_be_made_again_at_once():
    health, later = a_closed(), T0 + 2_000 * MS
    health.asked(later)
    health.abandoned(later + 5)
    assert (health.state, closed_ms(health, later + 5)) == ("closed", 0)
    health.asked(later + 5)
    assert health.state == "trying"


def test_a_request_that_said_nothing_changes_nothing_else():
    health = a_health()
    health.abandoned(T0)
    assert health.state == "open"
    closed = a_closed()
    closed.abandoned(T0)
    assert closed_ms(closed, T0) == 2_000


def test_who_asks_while_all_is_well_is_no_trial():
    health = a_health()
    health.asked(T0)
    assert (health.state, health.load.hindered) == ("open", False)


def test_it_is_given_more_and_more():
    health, later = a_closed(slow_start_ms=10_000), T0 + 2_000 * MS
    health.asked(later)
    answer(health, later)
    limits = []
    for passed_ms in (0, 100, 1_000, 5_000, 9_999):
        health.tick(later + passed_ms * MS)
        limits.append(health.load.limit)
    assert limits == [1, 1, 10, 50, 99]
    answer(health, later + 9_999 * MS)
    health.tick(later + 10_000 * MS)
    assert (health.state, health.load.limit) == ("open", LIMIT)


def test_without_a_slow_start_it_is_given_all_at_once():
    health = a_closed(slow_start_ms=0)
    health.asked(T0 + 2_000 * MS)
    answer(health, T0 + 2_000 * MS)
    assert (health.state, health.load.limit) == ("open", LIMIT)


def test_who_fails_while_it_recovers_is_closed_for_longer_and_once_open_all_is_forgiven():
    health, later = a_closed(), T0 + 2_000 * MS
    health.asked(later)
    answer(health, later)
    fail(health, later + 1_000 * MS)
    assert (health.state, closed_ms(health, later + 1_000 * MS), health.load.limit) == ("closed", 4_000, LIMIT)
    later += 6_000 * MS
    health.asked(later)
    answer(health, later)
    health.tick(later + 10_000 * MS)
    fail(health, later + 10_000 * MS, 5)
    assert closed_ms(health, later + 10_000 * MS) == 2_000


def test_who_is_open_again_begins_with_a_clean_sheet():
    for settings in ({"failures_max": 5}, {"failures_max": 100, "samples_min": 6, "failure_share": 0.5}):
        health = a_health(slow_start_ms=0, closed_ms=1_000, **settings)
        fail(health, T0, 6)
        later = T0 + 1_000 * MS
        health.asked(later)
        answer(health, later)
        assert state(health) == "open"
        fail(health, later, 4)
        assert state(health) == "open", "what closed it before counts no more"


def test_an_answer_is_a_sign_of_life_whenever_it_was_asked_for():
    health = a_closed()
    answer(health, T0 + 10 * MS)
    assert (health.state, health.load.closed_until, health.load.limit) == ("recovering", 0, 1)


def test_a_probe_that_is_answered_lets_it_be_tried_at_once():
    health = a_closed()
    health.alive(T0 + 500 * MS)
    assert (health.state, closed_ms(health, T0 + 500 * MS)) == ("closed", 0)
    health.asked(T0 + 500 * MS)
    assert health.state == "trying"
    health.alive(T0 + 501 * MS)
    assert closed_ms(health, T0 + 501 * MS) > 50_000, "the trial goes on alone"
    health = a_health()
    health.alive(T0)
    assert (health.state, health.load.closed_until) == ("open", 0)


# --------------------------------------------------------------------------------------------------------- it says when to come back

TOLD = [(5_000, 5_000), (0, 0), (None, 1_000), (10**9, RETRY_AFTER_MS_MAX)]


@pytest.mark.parametrize(("retry_after_ms", "rests_ms"), TOLD)
def test_who_says_when_to_come_back_is_left_alone_until_then(retry_after_ms, rests_ms):
    health = a_health()
    health.overloaded(T0, retry_after_ms, "429")
    assert (health.state, closed_ms(health, T0), health.load.closed_for) == ("open", rests_ms, "429")
    health.tick(T0 + rests_ms * MS - 1)
    assert closed_ms(health, T0) == rests_ms
    health.tick(T0 + rests_ms * MS)
    assert (health.load.closed_until, health.load.closed_for, health.load.hindered, health.load.limit) == (0, "", False, LIMIT)


def test_it_is_no_failure():
    health = a_health(failures_max=2, samples_min=2)
    for _ in range(10):
        health.overloaded(T0, 1, "429")
    fail(health, T0)
    assert health.state == "open"


def test_what_another_answer_says_does_not_shorten_it():
    """Of two that were under way together one names a minute and the other nothing: the minute holds."""
    for second in (None, 0, 10_000):
        health = a_health()
        health.overloaded(T0, 60_000, "429")
        health.overloaded(T0, second, "429")
        assert closed_ms(health, T0) == 60_000
    health = a_health()
    health.overloaded(T0, 10_000, "429")
    health.overloaded(T0 + SECOND, 60_000, "429")
    assert closed_ms(health, T0 + SECOND) == 60_000


def test_nor_does_a_failure_a_probe_or_an_answer():
    health = a_health()
    health.overloaded(T0, 60_000, "429")
    fail(health, T0, 5)
    assert (health.state, closed_ms(health, T0)) == ("closed", 60_000)
    health.alive(T0 + SECOND)
    assert closed_ms(health, T0) == 60_000
    answer(health, T0 + SECOND)
    assert closed_ms(health, T0) == 60_000
    health.tick(T0 + 60 * SECOND)
    assert health.load.closed_until == 0


def test_it_does_not_shorten_what_failures_have_closed():
    health = a_closed(closed_ms=30_000)
    health.overloaded(T0, 1_000, "429")
    assert closed_ms(health, T0) == 30_000


def test_a_trial_that_is_turned_away_is_made_again_when_it_was_said():
    health, later = a_closed(), T0 + 2_000 * MS
    health.asked(later)
    health.overloaded(later, 7_000, "429")
    assert (health.state, closed_ms(health, later)) == ("closed", 7_000)
    later += 7_000 * MS
    health.asked(later)
    fail(health, later)
    assert closed_ms(health, later) == 4_000, "twice as long for the one trial that failed"


def test_it_rests_while_it_recovers_too():
    health, later = a_closed(), T0 + 2_000 * MS
    health.asked(later)
    answer(health, later)
    health.overloaded(later, 3_000, "429")
    answer(health, later + MS)
    assert (health.state, closed_ms(health, later)) == ("recovering", 3_000)
    health.tick(later + 3_000 * MS)
    assert (health.state, health.load.closed_until, health.load.limit) == ("recovering", 0, 30)


# ------------------------------------------------------------------------------------------------------------------ what is learned


def test_times_are_learned_fast_at_first_and_then_slowly():
    health = a_health()
    answer(health, T0, ttft_ms=100.0, duration_ms=300.0, tokens_out=11)
    load = health.load
    assert (load.ttft_ms, load.tpot_ms, load.service_ms) == (100.0, 20.0, 300.0)
    answer(health, T0, ttft_ms=200.0, duration_ms=500.0, tokens_out=11)
    assert (load.ttft_ms, load.tpot_ms, load.service_ms) == (150.0, 25.0, 400.0)
    for _ in range(9):
        answer(health, T0, ttft_ms=150.0, duration_ms=400.0, tokens_out=11)
    before = load.ttft_ms
    answer(health, T0, ttft_ms=before + 100)
    assert load.ttft_ms == pytest.approx(before + 10)
    assert health.samples == 12


def test_nothing_is_learned_of_what_was_not_there():
    health = a_health()
    before = health.load.ttft_ms, health.load.tpot_ms
    answer(health, T0, ttft_ms=None, duration_ms=70.0, tokens_out=0)
    assert (health.load.ttft_ms, health.load.tpot_ms, health.load.service_ms) == (*before, 70.0)
    answer(health, T0, ttft_ms=60.0, duration_ms=70.0, tokens_out=1)
    assert health.load.tpot_ms == before[1], "a single token has no pace"
    answer(health, T0, ttft_ms=60.0, duration_ms=70.0, tokens_out=2)
    assert health.load.tpot_ms == pytest.approx(before[1] + (10.0 - before[1]) / 3)


# ------------------------------------------------------------------------------------------------------------------ other settings


def test_another_limit_holds_at_once():
    health = a_health()
    health.change(50, HealthSettings(failures_max=1))
    assert health.load.limit == 50
    fail(health, T0)
    assert health.state == "closed"


def test_the_same_limit_leaves_a_slow_start_alone():
    health, later = a_closed(slow_start_ms=10_000), T0 + 2_000 * MS
    health.asked(later)
    answer(health, later)
    health.tick(later + 5_000 * MS)
    health.change(LIMIT, HealthSettings(slow_start_ms=10_000))
    assert health.load.limit == 50
    health.change(20, HealthSettings(slow_start_ms=10_000))
    health.tick(later + 5_000 * MS)
    assert (health.state, health.load.limit) == ("recovering", 10)


WRONG = [
    *({field: 0} for field in ("failures_max", "samples_min", "window_ms", "closed_ms", "closed_ms_max", "overloaded_ms")),
    {"failure_share": 0.0},
    {"failure_share": 1.1},
    {"slow_start_ms": -1},
    {"outlier_factor": -0.1},
]


@pytest.mark.parametrize("fields", WRONG)
def test_what_can_not_be_set(fields: dict[str, Any]):
    (name,) = fields
    with pytest.raises(ValueError, match=name):
        HealthSettings(**fields)


# ----------------------------------------------------------------------------------------------------------------------- outliers


def seen(*ttfts_ms: float, samples: int = 20) -> list[Health]:
    peers = []
    for ttft_ms in ttfts_ms:
        health = a_health()
        health.load.ttft_ms, health.samples = ttft_ms, samples
        peers.append(health)
    return peers


OUTLIERS = [
    # times to the first token     who is out
    ([100, 100, 100],              []),
    ([100, 100, 501],              [2]),
    ([100, 100, 500],              []),
    ([100, 501],                   []),
    ([501],                        []),
    ([100, 900, 900],              []),
    ([100, 100, 900, 900],         [3]),
    ([100, 100, 100, 700, 900],    [3, 4]),
    ([1, 1, 1, 1, 600, 700, 900],  [4, 5, 6]),
    ([0, 0, 4],                    []),
    ([0, 0, 6],                    [2]),
]  # fmt: skip


@pytest.mark.parametrize(("ttfts_ms", "out"), OUTLIERS)
def test_who_is_much_slower_than_the_others(ttfts_ms, out):
    peers = seen(*ttfts_ms)
    assert [peers.index(one) for one in outliers(peers, HealthSettings(outlier_factor=5.0))] == out
    assert 2 * len(out) < max(len(peers), 1), "never half of them"


def test_who_has_said_little_or_is_closed_is_no_peer():
    settings = HealthSettings()
    assert outliers(seen(100, 100, 900, samples=19), settings) == []
    peers = seen(100, 100, 900, 100)
    peers[2].eject(T0, "slow")
    assert outliers(peers, settings) == []


def test_what_can_be_set():
    HealthSettings(
        failures_max=1, failure_share=1.0, samples_min=1, window_ms=1, closed_ms=1, closed_ms_max=1, slow_start_ms=0, overloaded_ms=1
    )


def test_without_a_factor_nobody_is_an_outlier():
    assert outliers(seen(1, 1, 10_000), HealthSettings(outlier_factor=0)) == []


def test_who_is_ejected_comes_back_as_after_failures():
    health = a_health()
    health.eject(T0, "slow")
    assert (health.state, closed_ms(health, T0), health.load.closed_for) == ("closed", 2_000, "slow")
    health.eject(T0 + SECOND, "slow")
    assert closed_ms(health, T0) == 2_000, "who is closed already is closed for no longer"
