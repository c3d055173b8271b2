"""Usage by the hour, over a real database."""

import msgspec
import pytest

from headrace.core.usage import Usage
from headrace.storage import connect, usage_by_hour
from headrace.storage.books import Bookkeeper
from headrace.storage.database import transaction
from headrace.storage.hourly import HOUR
from tests.unit.metering.builders import admit, lost, settle, void


@pytest.fixture
def database(layout):
    opened = connect(layout.database)
    yield opened
    opened.close()


def test_tokens_are_added_up_by_hour_class_and_model(database):
    """What is void, running, or held at its bound is left out: nobody knows its tokens."""
    with transaction(database):
        Bookkeeper(database).book(
            [
                settle(admit("a", moment=5 * HOUR), usage=Usage(100, 20, 3, 7, 2, 10, 20, 30)),
                settle(admit("b", moment=6 * HOUR - 1), usage=Usage(1, output=1)),
                settle(admit("c", moment=6 * HOUR, traffic_class="batch"), usage=Usage(2, output=2)),
                msgspec.structs.replace(settle(admit("d", moment=6 * HOUR, model="m"), usage=Usage(3)), state="estimated"),
                lost(admit("e", moment=5 * HOUR)),
                void(admit("f", moment=5 * HOUR)),
                admit("g", moment=5 * HOUR),
            ]
        )
    rows = [
        (row.hour, row.traffic_class, row.model, row.requests, row.tokens_uncached, row.tokens_cached, row.tokens_out)
        for row in usage_by_hour(database)
    ]
    assert rows == [
        (5, "enterprise", "smollm2-135m-instruct", 2, 164, 20, 10),
        (6, "batch", "smollm2-135m-instruct", 1, 2, 0, 2),
        (6, "enterprise", "m", 1, 3, 0, 0),
    ]
    assert [row.hour for row in usage_by_hour(database, since=6 * HOUR)] == [6, 6]
    assert [row.hour for row in usage_by_hour(database, until=6 * HOUR)] == [5]
