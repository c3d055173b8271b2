"""Pieces of a change: all of them are the new text, none the old one, and any of them the same in whatever order they are chosen."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.agents.hunks import hunks_of, lines_of, merged, shown

LINES = st.lists(st.sampled_from([b"a", b"b", b"", b"\xff\x00", b"x\r", b"long line\x0c\xe2\x80\xa8"]), max_size=12)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Lines of either end, with or without one at the last."""
    lines = draw(LINES)
    return b"".join(line + draw(st.sampled_from([b"\n", b"\r\n"])) for line in lines) + draw(st.sampled_from([b"", b"tail", b"\r"]))


@given(texts(), texts())
def test_all_is_the_new_text_and_none_the_old_one(old, new):
    hunks = hunks_of(old, new)
    assert merged(old, hunks, range(len(hunks))) == new
    assert merged(old, hunks, ()) == old
    assert b"".join(lines_of(old)) == old


@given(texts(), texts(), st.data())
def test_what_is_kept_forwards_is_what_is_left_backwards(old, new, data):
    hunks = hunks_of(old, new)
    kept = data.draw(st.sets(st.sampled_from(range(len(hunks))) if hunks else st.nothing()))
    order = data.draw(st.permutations(sorted(kept)))
    partly = merged(old, hunks, order)
    assert partly == merged(old, hunks, kept)
    assert partly == merged(new, [hunk.back for hunk in hunks], set(range(len(hunks))) - kept)
    rest = hunks_of(partly, new)
    assert merged(partly, rest, range(len(rest))) == new, "what was left can be kept later"


@given(texts(), texts())
def test_no_line_is_shown_twice_and_all_that_differ_are(old, new):
    told = shown(old, hunks_of(old, new))
    lines = [line for one in told for line in (*one.lead, *one.hunk.old, *one.tail)]
    places = iter(lines_of(old))
    assert all(any(line == there for there in places) for line in lines), "they stand in this order in the old text"
    assert all(one.hunk.old != one.hunk.new for one in told)
