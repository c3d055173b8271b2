"""How a process of one host sees that limits or prices were changed by another."""

import os

from headrace.storage import Layout, SharedState
from headrace.storage.generations import bump


def test_a_change_is_seen_however_soon_it_follows_on_another(layout: Layout) -> None:
    """File systems tell times no finer than a tick of the kernel, which is milliseconds."""
    state = SharedState(layout, None, lambda: 0)
    for file, mark in ((layout.limits_generation, state.limits_mark), (layout.prices_generation, state.prices_mark)):
        marks = [mark()]
        bump(file)
        marks.append(mark())
        known = file.stat()
        bump(file)
        os.utime(file, ns=(known.st_atime_ns, known.st_mtime_ns))
        marks.append(mark())
        assert len(set(marks)) == 3
        assert mark() == marks[-1]
