"""A chain of hashes over rows that are only ever appended: whoever changes one, or takes one away, breaks all that follow it."""

import hashlib
from collections.abc import Iterable

START = bytes(32)


def linked(before: bytes, *fields: object) -> bytes:
    """The hash of a row after the row with the hash `before`. Fields are told apart, so that none can move into the next."""
    found = hashlib.sha256(before)
    for field in fields:
        content = field if isinstance(field, bytes) else str(field).encode()
        found.update(len(content).to_bytes(8, "big") + content)
    return found.digest()


def broken(rows: Iterable[tuple[int, tuple[object, ...], bytes]]) -> str | None:
    """Where a chain of rows (number, fields, hash) breaks, in words; None: nowhere."""
    before, expected = START, 1
    for number, fields, found in rows:
        if number != expected:
            return f"row {expected} is missing"
        before = linked(before, *fields)
        if before != found:
            return f"row {number} is not what it was"
        expected += 1
    return None
