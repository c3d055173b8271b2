"""Heads of requests that the parser has read before, of all connections: see `wire.heads`."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeAlias

from headrace.wire.heads import HEAD_BYTES_MAX, FamiliarHead, familiar, split

HEADS_MAX: Final = 4_096

Handler: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]
"""What answers an exchange."""


class Headers(dict[bytes, bytes]):
    """Names, in lower case, and values. `wishes` is what was made of them, by whoever did: the same head is not read twice."""

    wishes: object = None


class Head(NamedTuple):
    """A head of HTTP/1.1 that keeps its connection, and waits for no word of ours before its body comes."""

    handler: Handler
    headers: Headers
    """Shared by all requests of this head, so without the length of any: nobody changes them."""
    familiar: FamiliarHead | None = None


class Heads:
    """The heads that all connections of one process share."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def read(self, data: bytes, last: Head | None = None) -> tuple[Head, int, int] | None:
        """The head that `data` begins with, where its body begins, and how long that is; None: the parser must read it. The head of the
        `last` request on the same connection is likely to come again."""
        if last is not None and last.familiar is not None and (again := last.familiar.read(data)) is not None:
            return last, *again
        parts = split(data)
        head = None if parts is None else self._known.get(b"".join(parts))
        if head is None or head.familiar is None or (found := head.familiar.read(data)) is None:
            return None
        return head, *found

    def keep(self, data: bytes, head: Head) -> None:
        """The parser found this in the head that `data` begins with."""
        again = familiar(data)
        if again is None:
            return
        if len(self._known) >= HEADS_MAX:
            self._known.clear()
        headers = Headers((name, value) for name, value in head.headers.items() if name != b"content-length")
        self._known[again.key] = Head(head.handler, headers, again)


__all__ = ["HEADS_MAX", "HEAD_BYTES_MAX", "Handler", "Head", "Headers", "Heads"]
