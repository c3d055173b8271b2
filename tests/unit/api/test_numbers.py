"""Numbers in addresses have an end: Python reads no more than 4,300 digits, and says so with an error of its own."""

import pytest

from headrace.api import auditlogs, organization
from headrace.core.errors import InvalidRequest

LONG = "9" * 5_000


def test_a_number_without_end_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        auditlogs._limit({"limit": [LONG]})
    with pytest.raises(InvalidRequest):
        organization._whole({"start_time": [LONG]}, "start_time", None)
    with pytest.raises(InvalidRequest):
        organization._start_of(f"page_{LONG}")
