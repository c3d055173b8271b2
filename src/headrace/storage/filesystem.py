"""What the file system of a folder promises."""

import os
from pathlib import Path
from typing import Final

KEEPING: Final = frozenset({"ext2", "ext3", "ext4", "tmpfs", "xfs"})
MOUNTS: Final = Path("/proc/self/mountinfo")


def keeps_reservations(folder: Path, mounts: Path = MOUNTS) -> bool:
    """True where room that was reserved can be stored into through a mapping, whatever happens to the rest of the disk.

    Others write a changed block to a new place (btrfs, ZFS, APFS), reserve nothing (NFS), or hide what is beneath them (overlay, FUSE): a
    store that finds no room there ends the process by a signal, where write(2) returns an error. What can't be told counts as such.
    """
    try:
        device = os.stat(folder).st_dev
        table = mounts.read_text(errors="replace")
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in table.splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split()[2] == number:
            return kind.split()[0] in KEEPING
    return False
