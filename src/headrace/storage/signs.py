"""A few bytes that all processes of a data folder have mapped: how the one that syncs the usage log tells the servers that it does.

    beat     u64   counts its rounds: while it moves, the servers need not sync themselves
    failure  u64   the number of the error when the disk failed, else 0

Nobody waits for the other, and a sign of an earlier time is none: only a beat that moves makes a failure count.
"""

import mmap
import os
import struct
from pathlib import Path
from typing import Final

NAME: Final = "syncing"
_SIGNS = struct.Struct("<QQ")


class Signs:
    """The signs of one folder of usage logs, as one process sees and sets them."""

    __slots__ = ("_beat", "_map")

    def __init__(self, usage: Path) -> None:
        file = os.open(usage / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(file, 0, _SIGNS.size) if hasattr(os, "posix_fallocate") else os.ftruncate(file, _SIGNS.size)
            self._map = mmap.mmap(file, _SIGNS.size)
        finally:
            os.close(file)
        self._beat = self._read()[0]

    def beat(self, failure: int) -> None:
        """Say that a round is done, and how the disk is."""
        self._beat = (self._beat + 1) % 2**64
        _SIGNS.pack_into(self._map, 0, self._beat, failure)

    def heard(self) -> int | None:
        """The failure that is told, 0 for none; None when there was no beat since we looked last."""
        beat, failure = self._read()
        moved, self._beat = beat != self._beat, beat
        return failure if moved else None

    def close(self) -> None:
        self._map.close()

    def _read(self) -> tuple[int, int]:
        beat, failure = _SIGNS.unpack_from(self._map)
        return beat, failure
