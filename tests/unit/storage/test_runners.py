"""Who works on what: one at a time, until it is dead, and never again after it was thought to be."""

from collections.abc import Mapping

import msgspec
import pytest

from headrace.core.clock import SECOND
from headrace.core.errors import Conflict
from headrace.core.identity import Principal
from headrace.storage import (
    AnsweredLine,
    BatchLine,
    Database,
    StoredBatch,
    Vigil,
    beat,
    bury,
    cancel_batch,
    change_batch,
    counts_of,
    keep_batch_with_lines,
    leave_batch,
    take_lines,
)
from headrace.storage.batches import claim_batch

BATCH = StoredBatch(
    owner="o", id="b", status="in_progress", principal=Principal(organization="a", project="p", key="k"), body={"endpoint": "/"}
)
LINES = [BatchLine(number=number, custom_id=str(number), request=b"{}") for number in range(6)]


def answered(line: BatchLine) -> AnsweredLine:
    return AnsweredLine(number=line.number, custom_id=line.custom_id, failed=False, answer=b"{}")


def test_a_batch_has_one_runner_and_no_line_is_taken_twice(shared: Database) -> None:
    for runner in ("one", "two"):
        beat(shared, runner, runner)
    keep_batch_with_lines(shared, BATCH, LINES, 1)
    first = claim_batch(shared, "one")
    assert first is not None
    assert claim_batch(shared, "two") is None
    _, taken = take_lines(shared, first, [], 3)
    _, more = take_lines(shared, first, [answered(taken[0])], 1)
    assert [line.number for line in (*taken, *more)] == [0, 1, 2, 3]
    bury(shared, "one")
    second = claim_batch(shared, "two")
    assert second is not None
    for late in (lambda: take_lines(shared, first, [answered(taken[1])], 2), lambda: change_batch(shared, first, "completed", {})):
        with pytest.raises(Conflict, match="another process"):
            late()
    _, lost = take_lines(shared, second, [], 9, idle=True)
    _, rest = take_lines(shared, second, [], 9, idle=True)
    assert [line.number for line in rest] == [line.number for line in lost] == [4, 5], "who never heard of them takes them again"
    take_lines(shared, second, [answered(line) for line in rest], 9)
    counts = counts_of(shared, "o", "b")
    assert (counts.total, counts.completed, counts.failed) == (6, 3, 3)


def test_who_cancels_while_a_batch_goes_a_step_on_has_cancelled_it(shared: Database) -> None:
    beat(shared, "one", "h")
    keep_batch_with_lines(shared, msgspec.structs.replace(BATCH, status="validating"), LINES, 1)
    held = claim_batch(shared, "one")
    assert held is not None
    assert cancel_batch(shared, "o", "b", 2)
    assert change_batch(shared, held, "in_progress", {}, after="validating")["status"] == "cancelling"
    assert take_lines(shared, held, [], 9) == ("cancelling", [])


def test_what_is_left_can_be_taken_up_at_once(shared: Database) -> None:
    beat(shared, "one", "h")
    keep_batch_with_lines(shared, BATCH, LINES, 1)
    held = claim_batch(shared, "one")
    assert held is not None
    assert claim_batch(shared, "one") == held, "who did not hear it asks again"
    leave_batch(shared, held)
    assert claim_batch(shared, "two") is not None


def test_each_hears_of_the_others(shared: Database) -> None:
    assert beat(shared, "one", "h") == {}
    assert beat(shared, "two", "h") == {"one": 0}
    beat(shared, "one", "h")
    assert beat(shared, "two", "h") == {"one": 1}
    bury(shared, "one")
    assert beat(shared, "two", "h") == {}
    assert beat(shared, "one", "h") == {"two": 2}, "who was thought dead is there again"


STORY: list[tuple[int, Mapping[str, int] | None, list[str]]] = [
    # second, what is seen     who is dead
    (0, {"a": 1, "b": 1}, []),
    (10, {"a": 2, "b": 1}, []),
    (16, {"a": 2, "b": 1}, ["b"]),
    (20, {"a": 2}, []),
    (24, None, []),  # nothing can be seen
    (60, {"a": 2, "b": 9}, []),
    (76, {"a": 3, "b": 9}, ["b"]),
]


def test_who_stands_still_for_too_long_is_dead() -> None:
    vigil = Vigil()
    for second, counts, dead in STORY:
        if counts is None:
            vigil.blink()
        else:
            assert vigil.look(counts, second * SECOND) == dead, second
