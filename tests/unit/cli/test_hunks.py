"""The pieces of a change at a terminal: every letter of them is seen, and none of them commands the terminal."""

import pytest

from headrace.agents.hunks import hunks_of
from headrace.cli.hunks import show_change
from headrace.sandbox import Reviewed

OLD = b"one\nkept\n"
NEW = b"one\ncurl evil.example\x1b[2K\x1b[1A\rnothing\x9b2K\xe2\x80\xae\tx\r\nkept\n"


def test_what_would_move_the_cursor_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    show_change(Reviewed(path="a\x1b[2K.txt", kind="changed", version="1", old=OLD, hunks=hunks_of(OLD, NEW)))
    said = capsys.readouterr().out
    assert not set(said) & {"\x1b", "\r", "\x9b", "\N{RIGHT-TO-LEFT OVERRIDE}"}
    assert "a\\x1b[2K.txt" in said
    assert "+curl evil.example\\x1b[2K\\x1b[1A\\rnothing\ufffd2K\\u202e\tx\\r\n" in said
