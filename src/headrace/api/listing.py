"""Lists as OpenAI's clients page through them: `limit`, `order`, `after`, `before`, by ids."""

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.core.errors import InvalidRequest

LIMIT, LIMIT_MAX = 20, 100


def page_of(
    items: Sequence[dict[str, Any]],
    query: Mapping[str, str],
    *,
    newest_first: bool,
    limit: int = LIMIT,
    limit_max: int = LIMIT_MAX,
    id: str = "id",
) -> dict[str, Any]:
    """The page that `query` asks for; `items` stand first to last, each with its own value of `id`. Raises InvalidRequest, naming the
    parameter."""
    order = query.get("order") or ("desc" if newest_first else "asc")
    if order not in ("asc", "desc"):
        raise InvalidRequest("Invalid value for 'order': it is asc or desc.", param="order")
    asked = query.get("limit") or str(limit)
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10 and 1 <= int(asked) <= limit_max):
        raise InvalidRequest(f"Invalid value for 'limit': it is 1 to {limit_max}.", param="limit")
    there = list(reversed(items)) if order == "desc" else list(items)
    ids = [str(item[id]) for item in there]
    for name in ("after", "before"):
        if (given := query.get(name)) and given not in ids:
            raise InvalidRequest(f"Invalid value for '{name}': there is no '{given}' here.", param=name)
    start = ids.index(query["after"]) + 1 if query.get("after") else 0
    stop = ids.index(query["before"]) if query.get("before") else len(there)
    page = there[start:stop][: int(asked)]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0][id] if page else None,
        "last_id": page[-1][id] if page else None,
        "has_more": start + len(page) < stop,
    }


def next_of(page: dict[str, Any]) -> dict[str, Any]:
    """The same page as OpenAI's newer lists have it, which name the cursor of what follows."""
    return {"object": "list", "data": page["data"], "has_more": page["has_more"], "next": page["last_id"] if page["has_more"] else None}
