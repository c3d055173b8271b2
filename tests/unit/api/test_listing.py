"""Pages of lists, as OpenAI's clients ask for them."""

from typing import Any

import pytest

from headrace.api.listing import page_of
from headrace.core.errors import InvalidRequest

ITEMS = [{"id": str(at)} for at in range(5)]

PAGES: list[tuple[dict[str, str], list[str], bool]] = [
    ({}, ["4", "3", "2", "1", "0"], False),
    ({"order": "asc", "limit": "2"}, ["0", "1"], True),
    ({"order": "asc", "limit": "2", "after": "2"}, ["3", "4"], False),
    ({"after": "2"}, ["1", "0"], False),
    ({"before": "2"}, ["4", "3"], False),
    ({"after": "0"}, [], False),
]


@pytest.mark.parametrize(("query", "ids", "more"), PAGES)
def test_pages(query: dict[str, str], ids: list[str], more: bool) -> None:
    page: dict[str, Any] = page_of(ITEMS, query, newest_first=True)
    assert [item["id"] for item in page["data"]] == ids
    assert page["has_more"] is more
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@pytest.mark.parametrize(
    "query",
    [
        {"order": "up"},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"limit": "²"},
        {"limit": "9" * 5_000},
        {"after": "9"},
        {"before": "9"},
    ],
)
def test_what_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        page_of(ITEMS, query, newest_first=True)
    assert wrong.value.param in query
