"""One hash over many records, a proof for each, and chains that show where they break."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.metering.chain import START, broken, linked
from headrace.metering.merkle import EMPTY, Proof, leaf, proof_of, proves, root_of

CONTENTS = st.lists(st.binary(max_size=9), min_size=1, max_size=17, unique=True)


@given(CONTENTS, st.data())
def test_each_record_is_proved_and_no_other(contents, data):
    leaves = [leaf(content) for content in contents]
    root, at = root_of(leaves), data.draw(st.integers(0, len(contents) - 1))
    proof = proof_of(leaves, at)
    assert proves(proof, contents[at], root)
    assert not proves(proof, contents[at] + b"!", root)
    assert len(proof.path) <= 5


@given(CONTENTS, st.data())
def test_another_record_is_another_root(contents, data):
    leaves = [leaf(content) for content in contents]
    changed = list(leaves)
    changed[data.draw(st.integers(0, len(leaves) - 1))] = leaf(b"another record")
    assert root_of(changed) != root_of(leaves)
    assert root_of([*leaves, leaf(b"one more")]) != root_of(leaves)


def test_of_nothing_and_of_one():
    assert root_of([]) == EMPTY
    assert root_of([leaf(b"a")]) == leaf(b"a")
    assert proves(Proof(()), b"a", leaf(b"a"))


ROWS: list[tuple[int, tuple[object, ...], bytes]] = [(1, ("a", 1), linked(START, "a", 1))]
ROWS.append((2, ("b", 2), linked(ROWS[0][2], "b", 2)))
ROWS.append((3, (b"c", 3), linked(ROWS[1][2], b"c", 3)))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (ROWS, None),
        ([], None),
        (ROWS[:2], None),
        (ROWS[1:], "row 1 is missing"),
        ([ROWS[0], ROWS[2]], "row 2 is missing"),
        ([ROWS[0], (2, ("b", 3), ROWS[1][2]), ROWS[2]], "row 2 is not what it was"),
    ],
)
def test_where_a_chain_breaks(rows, says):
    assert broken(rows) == says


def test_nothing_moves_from_one_field_into_the_next():
    assert linked(START, "ab", "c") != linked(START, "a", "bc")
