"""A conversation without its beginning, for a model that could not read the whole."""

from typing import Any

import msgspec

KEPT = frozenset({"system", "developer"})
"""Who instructs is heard, however long ago."""


def shortened(items: list[dict[str, Any]], bytes_max: int) -> list[dict[str, Any]]:
    """The latest items that fit, roughly, with all instructions; the very list where all of them do. A tool's output goes where its
    call does; the last item always stays."""
    sizes = [len(msgspec.json.encode(item)) for item in items]
    room = bytes_max - sum(size for size, item in zip(sizes, items, strict=True) if item.get("role") in KEPT)
    at = len(items)
    while at and (items[at - 1].get("role") in KEPT or room >= sizes[at - 1] or at == len(items)):
        at -= 1
        room -= 0 if items[at].get("role") in KEPT else sizes[at]
    if not at:
        return items
    calls = {item.get("call_id") for item in items[at:] if not _answers(item)}
    latest = [item for item in items[at:] if not _answers(item) or item.get("call_id") in calls]
    return [*(item for item in items[:at] if item.get("role") in KEPT), *(latest or items[-1:])]


def _answers(item: dict[str, Any]) -> bool:
    return str(item.get("type")).endswith("_output")
