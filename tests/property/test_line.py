"""Lines as a state machine: whoever comes, leaves, is called or turned away in whatever order, in two lines at once.

The laws: no line is longer than it may be; nobody is called twice, or after they left or their time was over; a higher class goes first; of
one tenant who came first; between tenants of a class nobody is served twice before another who waits; nobody is turned away while one who
left stands in their place, nor for a lower class, nor for a tenant of their class who has more.
"""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.routing import Line, Place

WAITING_MAX = 6
TENANTS, PRIORITIES = st.sampled_from("xyz"), st.sampled_from([0, 0, 0, 2, 4])
NEVER = 1 << 60


class Lines(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line[int]] = [Line(WAITING_MAX), Line(WAITING_MAX)]
        self.standing: list[list[Place[int]]] = [[], []]
        """Who stands in each, in the order in which they came."""
        self.served: list[Counter[tuple[int, str]]] = [Counter(), Counter()]
        self.before: dict[tuple[int, int], Counter[str]] = {}
        """By line and waiter, who of their class was served while they were the first of their tenant."""
        self.number = self.now = 0

    def live(self, at: int) -> list[Place[int]]:
        return [place for place in self.standing[at] if not place.over]

    @rule(
        where=st.sampled_from([(0,), (1,), (0, 1)]),
        tenant=TENANTS,
        priority=PRIORITIES,
        patience=st.sampled_from([NEVER, NEVER, NEVER, 3]),
    )
    def come(self, where: tuple[int, ...], tenant: str, priority: int, patience: int) -> None:
        self.number += 1
        share = 0.5 if priority == 4 else 1.0  # those who use only what idles are of the lowest class
        place = Place(self.number, tenant=tenant, priority=priority, leaves_at=self.now + patience, idle_share=share)
        for at in where:
            before = self.live(at)
            shed = self.lines[at].enter(place)
            if shed is place:
                self.check_turned_away(place, before)
                continue
            self.standing[at].append(place)
            if shed is None:
                assert len(before) < WAITING_MAX
            else:
                self.check_shed(shed, place, before)

    def check_turned_away(self, place: Place[int], before: list[Place[int]]) -> None:
        assert len(before) >= WAITING_MAX, "there was room"
        lowest = max(one.priority for one in before)
        assert lowest <= place.priority, "a lower class had to go"
        of = Counter(one.tenant for one in before if one.priority == place.priority)
        assert lowest < place.priority or max(of.values()) <= of[place.tenant] + 1, "one who has more had to go"

    def check_shed(self, shed: Place[int], place: Place[int], before: list[Place[int]]) -> None:
        assert len(before) == WAITING_MAX
        assert shed.over
        assert shed in before
        assert shed.priority == max(one.priority for one in before), "the lowest class goes"
        of = Counter(one.tenant for one in before if one.priority == shed.priority)
        assert shed.priority > place.priority or of[shed.tenant] > of[place.tenant] + 1
        assert of[shed.tenant] == max(of.values()), "of whom there are most"
        assert [one for one in before if (one.tenant, one.priority) == (shed.tenant, shed.priority)][-1] is shed, "the last of them"

    @rule(at=st.integers(0, 1), who=st.integers(0, 20))
    def leave(self, at: int, who: int) -> None:
        live = self.live(at)
        if live:
            live[who % len(live)].over = True

    @rule(passed=st.integers(1, 3))
    def time_passes(self, passed: int) -> None:
        self.now += passed
        for place in (*self.live(0), *self.live(1)):
            place.over = place.leaves_at <= self.now  # as their timers do

    @rule(at=st.integers(0, 1), in_use=st.sampled_from([0.0, 0.0, 0.5, 0.9]))
    def call(self, at: int, in_use: float) -> None:
        there = self.live(at)
        called = self.lines[at].next(self.now, in_use)
        if called is None:
            assert all(place.idle_share <= in_use for place in there), "somebody could have been called"
            return
        assert called in there, "only who stands there, has not left, was not called and whose time is not over"
        assert called.over
        assert in_use < called.idle_share
        assert called.priority == min(place.priority for place in there)
        own = [place for place in there if (place.priority, place.tenant) == (called.priority, called.tenant)]
        assert own[0] is called, "of one tenant who came first"
        self.check_turns(at, called, there)

    def check_turns(self, at: int, called: Place[int], there: list[Place[int]]) -> None:
        """Whoever is the first of their tenant sees each other tenant served once at most before them."""
        self.before.pop((at, called.who), None)
        seen: set[str] = set()
        for place in there:
            if place is called or place.priority != called.priority or place.tenant in seen | {called.tenant}:
                continue
            seen.add(place.tenant)
            mine = self.before.setdefault((at, place.who), Counter())
            mine[called.tenant] += 1
            assert mine[called.tenant] <= 1, "one tenant was served twice before another had a turn"

    @invariant()
    def no_line_is_longer_than_it_may_be(self) -> None:
        for at, line in enumerate(self.lines):
            assert len(self.live(at)) <= len(line) <= WAITING_MAX
            assert line.ahead(9) == len(self.live(at))
            assert line.first() == min((place.priority for place in self.live(at)), default=None)


TestLines = Lines.TestCase
