"""A worker's slices: held on all scopes or none, paid, released, told and heard."""

import pytest

from headrace.metering import AccountOpening, Said, Slice, Told, lacking, overspent, reserve


def a_slice(name: str = "a", *, free: int = 0, mode: str = "hard", limit: int = 1_000, account: int | None = 1) -> Slice:
    one = Slice(AccountOpening(name, name, "", "", 0, limit, mode, ()))  # type: ignore[arg-type]
    one.account = account
    one.granted = one.free = free
    return one


def test_all_or_none():
    rich, poor = a_slice(free=100), a_slice(free=9)
    assert reserve((rich, poor), 10) is None
    assert (rich.free, rich.held, poor.free) == (100, 0, 9)
    assert lacking((rich, poor), 10) == (poor,)
    hold = reserve((rich, poor), 9)
    assert hold is not None
    assert (rich.free, rich.held, poor.free, poor.held) == (91, 9, 0, 9)


def test_who_comes_later_leaves_what_others_wait_for():
    one = a_slice(free=100)
    one.needs = [40, 50]
    assert reserve((one,), 11) is None
    assert reserve((one,), 10) is not None
    assert reserve((one,), 50, waited=True) is not None, "it was leased for who waits"
    assert one.free == 40


def test_what_is_left_of_a_bound_is_free_again_and_what_was_paid_is_not():
    one = a_slice(free=100)
    hold = reserve((one,), 60)
    assert hold is not None
    hold.open += 1
    hold.pay(25)
    hold.end()
    assert (one.free, one.held, one.settled, hold.left_pico) == (40, 35, 25, 35)
    hold.release()
    assert (one.free, one.held, one.settled) == (75, 0, 25)
    assert one.is_whole


def test_what_an_open_attempt_may_cost_is_held_to_its_end():
    """The request is over, and a vendor that bills it whole is still being read."""
    one = a_slice(free=100)
    hold = reserve((one,), 40)
    assert hold is not None
    assert hold.again(40)
    hold.open += 2
    hold.pay(10)
    hold.end()
    hold.release()
    assert one.held == 70
    hold.end()
    assert (one.held, one.free, one.settled) == (0, 90, 10)
    assert not hold.again(91)


def test_a_vendor_that_bills_beyond_the_bound_is_paid_all_the_same():
    one = a_slice(free=50)
    hold = reserve((one,), 50)
    assert hold is not None
    hold.pay(70)
    hold.release()
    assert (one.free, one.held, one.settled) == (-20, 0, 70)
    assert one.is_whole
    assert one.say().need == 20, "what was overspent must be covered"


def test_soft_is_refused_once_it_is_spent_and_watched_never():
    soft, watched = a_slice(mode="soft", limit=100), a_slice(mode="watch", limit=100)
    soft.spent_by_others = watched.spent_by_others = 60
    hold = reserve((soft, watched), 500)
    assert hold is not None
    assert overspent((soft, watched)) is None
    hold.pay(40)
    hold.release()
    assert (soft.settled, soft.held, soft.is_whole) == (40, 0, True)
    assert reserve((soft, watched), 1) is None
    assert overspent((watched, soft)) is soft
    assert reserve((watched,), 1) is not None


SAYINGS = [
    # free, cushion, needs, idle     what is said to be returned, needed, at least needed
    (50, 10, [], False, (40, 0, 0)),
    (5, 10, [], False, (0, 0, 0)),
    (50, 10, [], True, (50, 0, 0)),
    (50, 10, [60, 80], False, (0, 90, 10)),
    (0, 0, [30], False, (0, 30, 30)),
]


@pytest.mark.parametrize(("free", "cushion", "needs", "idle", "said"), SAYINGS)
def test_what_is_said(free: int, cushion: int, needs: list[int], idle: bool, said: tuple[int, int, int]):
    one = a_slice(free=free)
    one.cushion, one.needs = cushion, needs
    found = one.say(idle=idle)
    assert (found.returned, found.need, found.least) == said
    assert one.is_whole
    assert not one.touched


def test_what_is_heard_twice_or_late_grants_nothing_anew():
    one = a_slice()
    for granted in (60, 60, 40, 70):
        one.hear(Told(1, granted, 5, 7, 1_000, 30))
    assert (one.granted, one.free, one.cushion, one.spent_by_others, one.available) == (70, 70, 5, 7, 30)


def test_soft_slices_return_nothing():
    one = a_slice(mode="soft")
    one.free = 0
    assert one.say(idle=True) == Said(1, 0, 0, 0, 0, 0, True)


def test_a_slice_that_was_forgotten_goes_on_where_it_stood():
    one = a_slice()
    one.resume(100, 30, 70)
    assert (one.granted, one.free, one.is_whole) == (100, 0, True)
    one.resume(500, 0, 0)
    assert one.granted == 100, "one that is in use knows better"


def test_a_budget_that_turns_soft_pays_out_what_was_held_and_gives_back_the_rest():
    one = a_slice(free=100)
    hold = reserve((one,), 60)
    assert hold is not None
    one.change(AccountOpening("a", "a", "", "", 0, 500, "soft", ()))
    assert one.account is None
    one.account = 1
    hold.pay(20)
    hold.release()
    assert (one.held, one.settled, one.free, one.is_whole) == (0, 20, 80, True)
    assert one.say().returned == 80
