"""A disk that stalls holds the database's one writer up, and everybody who waits for it: a start, a sign-in."""

import contextlib
import re
import sqlite3
import time
from pathlib import Path

from tests.server import READY, Installation, eventually, pool
from tests.vendor import Vendor

STALL_S = 6.0
"""Longer than the 5 s after which a start once gave up, on a machine whose disk was busy."""


def test_a_start_waits_for_whoever_writes(tmp_path: Path) -> None:
    with Vendor.open() as vendor:
        place = Installation(tmp_path, pool("vendor", vendor.url, "answers"))
        place.run("keys", "create", "anybody")
        with contextlib.closing(sqlite3.connect(place.data / "headrace.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            running = place.begin()
            try:
                time.sleep(STALL_S)
                assert running.process.poll() is None, running.said
                assert not READY.search(running.said)
                other.execute("ROLLBACK")
                found = eventually(lambda: running.process.poll() is not None or READY.search(running.said), 20)
                assert isinstance(found, re.Match), running.said
                assert "Traceback" not in running.said
            finally:
                running.kill()
