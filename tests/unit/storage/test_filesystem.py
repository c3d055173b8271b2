"""Which file systems keep what they reserve: told by the table of mounts, and taken for none where it can't be told."""

import os
import sys

import pytest

from headrace.storage.filesystem import KEEPING, keeps_reservations


@pytest.mark.parametrize(
    ("kind", "keeps"),
    [
        ("ext4", True),
        ("xfs", True),
        ("tmpfs", True),
        ("btrfs", False),
        ("zfs", False),
        ("overlay", False),
        ("nfs4", False),
        ("fuse.x", False),
    ],
)
def test_by_its_kind(tmp_path, kind, keeps):
    device = os.stat(tmp_path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    table = tmp_path / "mountinfo"
    table.write_text(
        f"1 0 0:999 / /other rw - {'ext4' if not keeps else 'nfs'} x rw\n2 1 {number} /a\\040b / rw shared:1 - {kind} /dev/x rw\n"
    )
    assert keeps_reservations(tmp_path, table) is keeps


def test_what_can_not_be_told(tmp_path):
    table = tmp_path / "mountinfo"
    assert not keeps_reservations(tmp_path, table), "no such table: not Linux"
    table.write_text("1 0 0:999 / / rw - ext4 x rw\n")
    assert not keeps_reservations(tmp_path, table)
    assert not keeps_reservations(tmp_path / "missing", table)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the table")
def test_this_machine():
    with open("/proc/self/mountinfo") as table:
        kinds = {line.partition(" - ")[2].split()[0] for line in table}
    assert keeps_reservations(__import__("pathlib").Path("/dev/shm")) is ("tmpfs" in kinds & KEEPING)
