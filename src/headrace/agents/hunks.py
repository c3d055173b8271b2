"""What differs between two texts, in pieces of which each can be kept or left: pure, and exact to the byte.

A line ends at a newline and nowhere else, so carriage returns, form feeds and a last line without an end stay what they are. A piece
stands at its place in the old text, and no two touch; so whichever are kept, in whatever order one decides, the outcome is the same: all of
them give the new text, none the old one, and those that are left can be decided on later.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from difflib import SequenceMatcher
from typing import Final

import msgspec

CONTEXT_LINES: Final = 3
_LINE: Final = re.compile(rb"[^\n]*\n|[^\n]+")


class Hunk(msgspec.Struct, frozen=True):
    """The lines `old`, from line `old_start` of the old text on, become `new`, from line `new_start` of the new one on; from 0 each."""

    old_start: int
    old: tuple[bytes, ...]
    new_start: int
    new: tuple[bytes, ...]

    @property
    def back(self) -> "Hunk":
        """The same seen from the new text."""
        return Hunk(self.new_start, self.new, self.old_start, self.old)


class Shown(msgspec.Struct, frozen=True):
    """A piece with the unchanged lines around it, of which each stands at one piece only. `skips`: lines are left out before them."""

    hunk: Hunk
    lead: tuple[bytes, ...]
    tail: tuple[bytes, ...]
    skips: bool


def lines_of(text: bytes) -> list[bytes]:
    """The lines, each with its newline."""
    return _LINE.findall(text)


def hunks_of(old: bytes, new: bytes) -> tuple[Hunk, ...]:
    """The pieces that differ, from the first line to the last."""
    before, after = lines_of(old), lines_of(new)
    matcher = SequenceMatcher(None, before, after)
    return tuple(
        Hunk(start, tuple(before[start:end]), new_start, tuple(after[new_start:new_end]))
        for kind, start, end, new_start, new_end in matcher.get_opcodes()
        if kind != "equal"
    )


def merged(old: bytes, hunks: Sequence[Hunk], kept: Collection[int]) -> bytes:
    """The old text with those of its pieces whose numbers, from 0, are `kept`."""
    lines, parts, at = lines_of(old), list[bytes](), 0
    for number, hunk in enumerate(hunks):
        parts += lines[at : hunk.old_start]
        parts += hunk.new if number in kept else hunk.old
        at = hunk.old_start + len(hunk.old)
    return b"".join((*parts, *lines[at:]))


def shown(old: bytes, hunks: Sequence[Hunk]) -> list[Shown]:
    """The pieces with what stands around them."""
    lines, told, at = lines_of(old), list[Shown](), 0
    for number, hunk in enumerate(hunks):
        end = hunk.old_start + len(hunk.old)
        following = hunks[number + 1].old_start if number + 1 < len(hunks) else len(lines)
        lead = max(at, hunk.old_start - CONTEXT_LINES)
        tail = min(following, end + CONTEXT_LINES)
        told.append(Shown(hunk, tuple(lines[lead : hunk.old_start]), tuple(lines[end:tail]), lead > at))
        at = tail
    return told


def likeness(old: bytes, new: bytes) -> float:
    """Which part of their lines two texts share, 0 to 1."""
    before, after = Counter(lines_of(old)), Counter(lines_of(new))
    count = before.total() + after.total()
    return 2 * (before & after).total() / count if count else 0.0
