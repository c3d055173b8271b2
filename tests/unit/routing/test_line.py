"""The line before a pool: who is next, who goes when it is full, and what becomes of those who left."""

import pytest

from headrace.core.clock import SECOND
from headrace.routing import Line, Place

LATER = 1_000 * SECOND


def place(who: str, tenant: str = "t", priority: int = 0, leaves_at: int = LATER, idle_share: float = 1.0) -> Place[str]:
    return Place(who, tenant=tenant, priority=priority, leaves_at=leaves_at, idle_share=idle_share)


def a_line(*places: Place[str], waiting_max: int = 100) -> Line[str]:
    line: Line[str] = Line(waiting_max)
    assert [line.enter(one) for one in places] == [None] * len(places)
    return line


def drained(line: Line[str], now: int = 0, in_use: float = 0.0) -> list[str]:
    order: list[str] = []
    while (one := line.next(now, in_use)) is not None:
        order.append(one.who)
    return order


def test_who_came_first_is_first():
    line = a_line(*(place(who) for who in "abc"))
    assert len(line) == 3
    assert drained(line) == ["a", "b", "c"]
    assert (len(line), line.next(0, 0.0)) == (0, None)


def test_a_higher_class_goes_first():
    line = a_line(place("a", priority=4), place("b", priority=1), place("c", priority=0), place("d", priority=1))
    assert drained(line) == ["c", "b", "d", "a"]


def test_tenants_take_turns():
    line = a_line(*(place(f"x{number}", "x") for number in range(3)), *(place(f"y{number}", "y") for number in range(2)), place("z", "z"))
    assert drained(line) == ["x0", "y0", "z", "x1", "y1", "x2"]


def test_classes_of_one_tenant_take_no_turns_from_each_other():
    line = a_line(*(place(f"low{number}", "x", 4) for number in range(3)), place("high", "x", 0), place("y", "y", 4))
    assert drained(line) == ["high", "low0", "y", "low1", "low2"]


def test_a_flood_delays_a_trickle_by_no_more_than_a_turn():
    line = a_line(*(place("flood", "x") for _ in range(10_000)), waiting_max=20_000)
    for _ in range(50):
        assert line.enter(place("drop", "y")) is None
        served = [one.who for one in (line.next(0, 0.0), line.next(0, 0.0)) if one is not None]
        assert "drop" in served
        assert "flood" in served, "and the flood has its turns too"


def test_a_flood_of_those_who_left_is_held_against_nobody():
    """A tenant whose clients gave up has had nothing: the next of them waits as anybody does."""
    flood = [place("gave up", "x") for _ in range(1_000)]
    line = a_line(*flood, *(place("y", "y") for _ in range(1_000)), waiting_max=5_000)
    for one in flood:
        one.over = True
    assert drained(line)[:3] == ["y"] * 3
    for one in [place("gave up", "x", leaves_at=5) for _ in range(100)]:
        line.enter(one)
    assert line.next(5, 0.0) is None
    line.enter(place("y", "y")), line.enter(place("x", "x")), line.enter(place("y", "y"))
    assert drained(line, now=6) == ["y", "x", "y"]


def test_a_flood_of_those_who_left_while_others_wait():
    flood = [place("gave up", "x") for _ in range(100)]
    line = a_line(*(place("y", "y") for _ in range(200)), *flood, waiting_max=5_000)
    for one in flood:
        one.over = True
    line.enter(place("x", "x"))
    assert "x" in drained(line)[:2]


def test_who_comes_again_after_a_while_has_saved_nothing_up():
    line = a_line(*(place("x", "x") for _ in range(100)))
    for _ in range(50):
        line.next(0, 0.0)
    for _ in range(50):
        line.enter(place("y", "y"))
    order = drained(line)
    assert order[:6].count("y") == 3, "turn by turn, not fifty at once"


def test_who_comes_one_by_one_has_half_of_the_turns_and_no_more():
    """Each of theirs is the last of them for a moment; that must not put the next one before a flood that waits."""
    line = a_line(*(place("flood", "x") for _ in range(100)), waiting_max=1_000)
    order: list[str] = []
    for _ in range(60):
        line.enter(place("drop", "y"))
        order += [one.who for one in [line.next(0, 0.0)] if one is not None]
    assert order.count("flood") == 30


def test_a_line_knows_how_long_it_is():
    gone, late = place("gone", "x"), place("late", "y", leaves_at=5)
    line = a_line(gone, late, place("here", "z"), place("here too", "z"), place("low", "x", priority=4))
    gone.over = True
    assert (len(line), line.first()) == (5, 0)
    assert len(line) == 4, "who has left was forgotten on the way"
    assert line.next(6, 0.0).who == "here"  # type: ignore[union-attr]
    assert len(line) == 2
    assert (line.next(6, 0.0).who, len(line)) == ("here too", 1)  # type: ignore[union-attr]
    assert (line.next(6, 0.0).who, len(line)) == ("low", 0)  # type: ignore[union-attr]


# -------------------------------------------------------------------------------------------------------------- those who are not there


def test_who_is_over_is_skipped():
    gone, here = place("gone"), place("here")
    line = a_line(gone, here)
    gone.over = True
    assert drained(line) == ["here"]


def test_who_is_granted_in_one_line_is_skipped_in_the_others():
    one = place("both")
    first, second = a_line(one), a_line(one, place("after"))
    assert first.next(0, 0.0) is one
    assert one.over
    assert drained(second) == ["after"]
    assert first.next(0, 0.0) is None


def test_who_waited_too_long_is_not_called():
    line = a_line(place("late", leaves_at=10), place("patient", leaves_at=11))
    assert line.next(10, 0.0).who == "patient"  # type: ignore[union-attr]
    assert line.next(10, 0.0) is None


def test_who_may_use_only_what_idles_waits_until_it_does():
    line = a_line(place("batch", idle_share=0.8))
    assert line.next(0, 0.8) is None
    assert line.next(0, 0.9) is None
    assert len(line) == 1
    assert line.next(0, 0.79).who == "batch"  # type: ignore[union-attr]


def test_a_higher_class_passes_one_that_waits_for_what_idles():
    line = a_line(place("batch", priority=4, idle_share=0.8))
    assert line.next(0, 0.9) is None
    line.enter(place("realtime", priority=0))
    assert drained(line, in_use=0.9) == ["realtime"]
    assert drained(line, in_use=0.5) == ["batch"]


# -------------------------------------------------------------------------------------------------------------------- a full line


def test_a_full_line_turns_away_who_comes():
    line = a_line(place("a"), place("b"), waiting_max=2)
    last = place("c")
    assert line.enter(last) is last
    assert drained(line) == ["a", "b"]


def test_a_full_line_sheds_the_last_of_the_lowest_class():
    low = [place(f"low{number}", priority=4) for number in range(2)]
    line = a_line(place("middle", priority=2), *low, waiting_max=3)
    assert line.enter(place("high", priority=0)) is low[1]
    assert low[1].over
    assert line.enter(place("higher", priority=0)) is low[0]
    assert drained(line) == ["high", "higher", "middle"]


def test_of_its_own_class_nobody_is_shed_for_one_of_the_same_tenant():
    line = a_line(place("a", priority=2), waiting_max=1)
    again = place("b", priority=2)
    assert line.enter(again) is again


def test_a_flood_that_fills_the_line_makes_room_for_who_has_less():
    """Else one tenant's thousand requests would turn all others of its class away."""
    flood = [place(f"x{number}", "x") for number in range(10)]
    line = a_line(*flood, waiting_max=10)
    assert line.enter(place("y0", "y")) is flood[-1]
    assert line.enter(place("y1", "y")) is flood[-2]
    assert drained(line)[:4] == ["x0", "y0", "x1", "y1"]


def test_a_full_line_is_shared_evenly_and_no_further():
    line = a_line(*(place("x", "x") for _ in range(4)), waiting_max=4)
    shed = [line.enter(place("y", "y")) for _ in range(4)]
    assert [one.who if one is not None else None for one in shed] == ["x", "x", "y", "y"]
    assert sorted(drained(line)) == ["x", "x", "y", "y"]


def test_nobody_is_shed_for_one_who_would_then_have_as_many():
    """Else two would turn each other out of it in turn, without end."""
    line = a_line(*(place("x", "x") for _ in range(3)), waiting_max=3)
    shed = [line.enter(place("y", "y")) for _ in range(2)]
    assert [one.who if one is not None else None for one in shed] == ["x", "y"]
    assert (len(line), sorted(drained(line))) == (3, ["x", "x", "y"])


def test_whoever_left_makes_room():
    gone = place("gone")
    line = a_line(gone, place("here"), waiting_max=2)
    gone.over = True
    assert line.enter(place("new")) is None
    assert drained(line) == ["here", "new"]


def test_a_line_in_which_nobody_may_stand():
    line, one = a_line(waiting_max=0), place("a")
    assert line.enter(one) is one
    assert line.next(0, 0.0) is None


def test_a_line_that_was_made_shorter():
    line = a_line(*(place(who) for who in "abc"))
    line.waiting_max = 2
    more = place("d")
    assert line.enter(more) is more
    assert len(line) == 3, "whoever stands may stay"


# ------------------------------------------------------------------------------------------------------------------ what is before me


@pytest.mark.parametrize(("priority", "ahead"), [(0, 1), (1, 1), (2, 3), (9, 4)])
def test_how_many_go_before_a_newcomer(priority, ahead):
    gone = place("gone", priority=2)
    line = a_line(place("a", priority=0), place("b", priority=2), gone, place("c", priority=2), place("d", priority=5))
    gone.over = True
    assert line.ahead(priority) == ahead


def test_who_is_the_first_of_those_who_stand():
    line = a_line()
    assert line.first() is None
    low, high = place("low", priority=4), place("high", priority=1)
    line.enter(low), line.enter(high)
    assert line.first() == 1
    high.over = True
    assert line.first() == 4
    low.over = True
    assert line.first() is None
