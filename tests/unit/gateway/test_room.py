"""A pool's room: who is in it, who waits before it, how it feels, and what the other workers say of it."""

import asyncio
from typing import Any

import pytest

from headrace.core.clock import MS, SECOND
from headrace.core.errors import (
    EngineFailed,
    HeadraceError,
    InvalidRequest,
    NoCapacity,
    NotReady,
    NotTranslatable,
    QueueFull,
    StorageFull,
    UpstreamCut,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
)
from headrace.gateway import Room
from headrace.gateway.room import TTFTS_KEPT, TTFTS_MIN, Waiter, leave, stand
from headrace.routing import HealthSettings, Place
from headrace.testing.builders import a_pool

T0 = 1_000 * SECOND


def a_room(name: str = "a", **fields: Any) -> Room:
    return Room(a_pool(name, **fields), HealthSettings(failures_max=1))


def a_place(tenant: str = "t", priority: int = 0, idle_share: float = 1.0, leaves_at: int = T0 + SECOND) -> Place[Waiter]:
    granted = asyncio.get_running_loop().create_future()
    return Place(Waiter(granted), tenant=tenant, priority=priority, leaves_at=leaves_at, idle_share=idle_share)


def granted(place: Place[Waiter]) -> Room | None:
    return place.who.granted.result() if place.who.granted.done() else None


def test_a_room_is_its_pools():
    room = a_room(concurrency_max=7, waiting_max=3, ttft_ms=40.0, tpot_ms=2.0)
    assert (room.load.limit, room.line.waiting_max, room.load.ttft_ms, room.load.tpot_ms) == (7, 3, 40.0, 2.0)
    room.change(a_pool("a", concurrency_max=9, waiting_max=0), HealthSettings())
    assert (room.load.limit, room.line.waiting_max, room.pool.concurrency_max) == (9, 0, 9)


def test_who_comes_and_goes():
    room = a_room()
    room.take(T0)
    room.take(T0)
    assert (room.own, room.load.inflight) == (2, 2)
    room.free(T0)
    assert (room.own, room.load.inflight) == (1, 1)


def test_what_is_slow_is_known_once_enough_was_seen():
    room = a_room()
    for number in range(TTFTS_MIN - 1):
        room.answered(T0, ttft_ms=float(number), duration_ms=1.0, tokens_out=1)
        room.answered(T0, ttft_ms=None, duration_ms=1.0, tokens_out=1)
    assert room.slow_ms is None
    room.answered(T0, ttft_ms=19.0, duration_ms=1.0, tokens_out=1)
    assert room.slow_ms == 19.0
    for number in range(200):
        room.answered(T0, ttft_ms=float(number), duration_ms=1.0, tokens_out=1)
    assert room.slow_ms == 72 + TTFTS_KEPT * 95 // 100, "of the last that were seen"


FEELS = [
    # how an attempt ended                                        its pool then is  and may be asked after
    (UpstreamCut("cut"),                                          "closed",         2_000),
    (UpstreamTimedOut("late"),                                    "closed",         2_000),
    (EngineFailed("died"),                                        "closed",         2_000),
    (NotReady("loading"),                                         "closed",         2_000),
    (UpstreamOverloaded("busy", retry_after_ms=700),              "open",           700),
    (UpstreamOverloaded("busy"),                                  "open",           1_000),
    (QueueFull("full", retry_after_ms=30),                        "open",           30),
    (UpstreamRefused("wrong", status=400, body=b""),              "open",           0),
    (InvalidRequest("no"),                                        "open",           0),
    (NotTranslatable("no"),                                       "open",           0),
    (StorageFull("full"),                                         "open",           0),
    (NoCapacity("full"),                                          "open",           0),
]  # fmt: skip


@pytest.mark.parametrize(("failure", "state", "after_ms"), FEELS)
def test_only_what_the_pool_is_to_blame_for_counts(failure: HeadraceError, state: str, after_ms: int):
    room = a_room()
    room.failed(failure, T0)
    assert (room.health.state, max(0, room.load.closed_until - T0) // MS) == (state, after_ms)


def test_a_trial_that_says_nothing_of_the_pool_is_made_again():
    for failure in (UpstreamRefused("wrong", status=400, body=b""), StorageFull("full")):
        room = a_room()
        room.failed(UpstreamCut("cut"), T0)
        later = room.load.closed_until
        room.take(later)
        assert room.load.closed_until > later
        room.failed(failure, later)
        assert (room.health.state, room.load.closed_until) == ("closed", later)


# ----------------------------------------------------------------------------------------------------------------------- waiting


async def test_whoever_is_next_gets_the_place_that_is_free():
    room, first, second = a_room(concurrency_max=1), a_place(), a_place()
    room.take(T0)
    stand(first, [room])
    stand(second, [room])
    assert (room.load.waiting, room.load.hindered) == (2, True)
    room.free(T0)
    assert (granted(first), granted(second), room.load.inflight, room.load.waiting) == (room, None, 1, 1)
    room.free(T0)
    assert (granted(second), room.load.inflight, room.load.waiting, room.load.hindered) == (room, 1, 0, False)


async def test_nobody_is_called_into_a_full_room():
    room, place = a_room(concurrency_max=2), a_place()
    room.take(T0)
    room.take(T0)
    stand(place, [room])
    room.tick(T0)
    assert (granted(place), room.load.inflight) == (None, 2)
    room.free(T0)
    assert (granted(place), room.load.inflight) == (room, 2)


async def test_in_whichever_room_there_is_a_place_first():
    one, other, place = a_room("a", concurrency_max=1), a_room("b", concurrency_max=1), a_place()
    one.take(T0)
    other.take(T0)
    stand(place, [one, other])
    other.free(T0)
    assert granted(place) is other
    assert (one.load.waiting, other.load.waiting) == (0, 0)
    one.free(T0)
    assert (one.load.inflight, other.load.inflight) == (0, 1), "nobody has two places"


async def test_nobody_is_called_into_a_closed_room():
    room, place = a_room(concurrency_max=1), a_place()
    room.take(T0)
    stand(place, [room])
    room.failed(UpstreamCut("cut"), T0)
    room.free(T0)
    assert granted(place) is None
    room.tick(T0 + 1_999 * MS)
    assert granted(place) is None
    place.leaves_at = T0 + 10 * SECOND
    room.tick(T0 + 2_000 * MS)
    assert granted(place) is room
    assert room.health.state == "trying", "who waits longest tries it"


async def test_one_tries_it_and_the_others_wait_on():
    room, places = a_room(concurrency_max=5), [a_place(leaves_at=T0 + 10 * SECOND) for _ in range(3)]
    room.failed(UpstreamCut("cut"), T0)
    for place in places:
        stand(place, [room])
    room.tick(T0 + 2_000 * MS)
    assert [granted(place) for place in places] == [room, None, None]


async def test_who_can_wait_is_called_when_enough_idles():
    room, batch = a_room(concurrency_max=10), a_place(priority=4, idle_share=0.8)
    for _ in range(9):
        room.take(T0)
    stand(batch, [room])
    room.free(T0)
    assert (granted(batch), room.load.inflight) == (None, 8)
    room.free(T0)
    assert (granted(batch), room.load.inflight) == (room, 8)


async def test_who_left_is_not_called():
    room, gone, here = a_room(concurrency_max=1), a_place(), a_place()
    room.take(T0)
    stand(gone, [room])
    stand(here, [room])
    leave(gone)
    assert room.load.waiting == 1
    leave(gone)
    assert room.load.waiting == 1, "to leave twice is to leave once"
    room.free(T0)
    assert (granted(gone), granted(here)) == (None, room)


async def test_who_is_no_longer_listening_costs_nobody_a_place():
    """Their future is over, and they have not left the line yet: in the same turn of the loop that can be."""
    room, gone, here = a_room(concurrency_max=1), a_place(), a_place()
    room.take(T0)
    stand(gone, [room])
    stand(here, [room])
    gone.who.granted.cancel()
    room.free(T0)
    assert (granted(here), room.load.inflight, room.load.waiting) == (room, 1, 0)


async def test_who_is_shed_is_told_and_leaves_all_lines():
    one, other = a_room("a", waiting_max=1), a_room("b", waiting_max=5)
    low, high = a_place(priority=4), a_place(priority=0)
    stand(low, [one, other])
    stand(high, [one])
    shed = low.who.granted.exception()
    assert isinstance(shed, NoCapacity)
    assert shed.retry_after_ms is not None
    assert shed.retry_after_ms > 0
    assert (one.load.waiting, other.load.waiting) == (1, 0)


async def test_who_is_shed_in_the_turn_in_which_they_gave_up_hears_it_once():
    room, low = a_room(waiting_max=1), a_place(priority=4)
    stand(low, [room])
    low.who.granted.set_exception(TimeoutError())
    stand(a_place(priority=0), [room])
    assert isinstance(low.who.granted.exception(), TimeoutError)
    assert room.load.waiting == 1


async def test_where_one_line_is_full_the_others_will_do():
    full, other, place = a_room("a", waiting_max=0), a_room("b"), a_place()
    stand(place, [full, other])
    assert (full.load.waiting, other.load.waiting, place.who.rooms) == (0, 1, [other])
    with pytest.raises(NoCapacity):
        stand(a_place(), [full])
    assert full.load.waiting == 0


async def test_how_long_a_newcomer_would_wait():
    room = a_room(concurrency_max=4)
    room.load.service_ms = 1_000.0
    assert room.expected_wait_ms(0) == 250.0
    stand(a_place(priority=2), [room])
    assert (room.expected_wait_ms(0), room.expected_wait_ms(2)) == (250.0, 500.0)


async def test_the_highest_class_of_those_who_wait_is_known():
    room, batch, realtime = a_room(), a_place(priority=4), a_place(priority=0)
    stand(batch, [room])
    assert room.load.waiting_first == 4
    stand(realtime, [room])
    assert room.load.waiting_first == 0
    leave(realtime)
    assert (room.load.waiting, room.load.waiting_first) == (1, 4)


# ------------------------------------------------------------------------------------------------------------------ other workers


class Cells:
    """What the others say, as a test wants it, and what they are told."""

    def __init__(self, inflight: int = 0, closed_until: int = 0) -> None:
        self.said = inflight, closed_until
        self.told: list[tuple[int, int]] = []

    def tell(self, inflight: int, closed_until: int) -> None:
        self.told.append((inflight, closed_until))

    def others(self) -> tuple[int, int]:
        return self.said


def test_what_others_have_there_counts():
    room, cells = a_room(concurrency_max=10), Cells(inflight=7)
    room.take(T0)
    room.hear(cells, T0)
    assert (cells.told[-1], room.load.inflight, room.own) == ((1, 0), 8, 1)
    cells.said = 2, 0
    room.hear(cells, T0)
    assert room.load.inflight == 3
    room.free(T0)
    assert (room.load.inflight, room.own) == (2, 0)


def test_the_others_know_at_once_whom_one_has_taken_and_who_is_done():
    """They read it whenever they place a request; it must not be older than the last one here."""
    room, cells = a_room(concurrency_max=10), Cells()
    room.hear(cells, T0)
    room.take(T0)
    assert cells.told[-1] == (1, 0)
    room.take(T0)
    room.free(T0)
    assert cells.told[-1] == (1, 0)
    room.free(T0)
    assert cells.told[-1] == (0, 0)


async def test_when_others_have_freed_a_place_who_waits_here_gets_it():
    room, cells, place = a_room(concurrency_max=1), Cells(inflight=1), a_place()
    room.hear(cells, T0)
    stand(place, [room])
    room.hear(cells, T0)
    assert granted(place) is None
    cells.said = 0, 0
    room.hear(cells, T0)
    assert granted(place) is room


def test_a_pool_that_fails_elsewhere_is_closed_here_too():
    room, cells = a_room(), Cells(closed_until=T0 + SECOND)
    room.hear(cells, T0)
    assert (room.load.closed_until, room.load.hindered) == (T0 + SECOND, True)
    room.hear(cells, T0)
    assert cells.told[-1] == (0, 0), "what one has only heard is not passed on: two would keep it closed for ever"
    room.tick(T0 + SECOND)
    assert (room.load.closed_until, room.load.hindered) == (0, False)


def test_what_one_knows_oneself_is_passed_on_and_not_shortened_by_others():
    room, cells = a_room(), Cells(closed_until=T0 + SECOND)
    room.failed(UpstreamCut("cut"), T0)
    room.hear(cells, T0)
    assert (cells.told[-1], room.load.closed_until) == ((0, T0 + 2 * SECOND), T0 + 2 * SECOND)


def test_what_was_past_when_it_was_heard_closes_nothing():
    room = a_room()
    room.hear(Cells(closed_until=T0), T0)
    assert (room.load.closed_until, room.load.hindered) == (0, False)


def test_when_it_has_recovered_elsewhere_it_is_open_here_too():
    """A worker that tries a pool closes it to all others for as long as a trial may take; when it answered, that is over."""
    room, cells = a_room(), Cells(closed_until=T0 + 60 * SECOND)
    room.hear(cells, T0)
    cells.said = 0, 0
    room.hear(cells, T0 + SECOND)
    room.tick(T0 + SECOND)
    assert (room.load.closed_until, room.load.hindered) == (0, False)


def test_what_one_knows_oneself_outlasts_what_others_have_taken_back():
    room, cells = a_room(), Cells(closed_until=T0 + 60 * SECOND)
    room.failed(UpstreamCut("cut"), T0)
    room.hear(cells, T0)
    assert room.load.closed_until == T0 + 60 * SECOND
    cells.said = 0, 0
    room.hear(cells, T0 + SECOND)
    assert T0 + SECOND < room.load.closed_until <= T0 + 2 * SECOND
    assert room.health.state == "closed"
