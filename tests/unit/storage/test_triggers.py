"""Messages that started runs, counted and listed."""

import contextlib

from headrace.core.clock import SECOND
from headrace.storage import Delivery, Layout, Trigger, TriggerStore, connect
from headrace.storage.triggers import SHOWN_MAX

NOW = 1_795_000_000_000_000_000


def test_all_that_came_are_counted_and_the_last_are_listed(layout: Layout) -> None:
    trigger = Trigger(id="trg_1", owner="ann", key=b"k", secret="s", model="", leave=b"l", per_hour_max=1_000, created=NOW)
    with contextlib.closing(connect(layout.database)) as database:
        store = TriggerStore(database)
        assert store.add(trigger)
        for number in range(SHOWN_MAX + 3):
            at = NOW + number * SECOND
            told = Delivery(address="trg_1", once=f"id {number}", id=str(number), thread=f"t{number}", run=f"r{number}", received=at)
            assert store.claim(trigger, told) == (told, True)
        assert store.started("trg_1") == SHOWN_MAX + 3
        listed = store.deliveries("trg_1")
        assert (len(listed), listed[0].id) == (SHOWN_MAX, str(SHOWN_MAX + 2))
