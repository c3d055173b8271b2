"""What a command says, at a terminal: text alone, and each line where it is."""

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.agents import Call
from headrace.agents.events import Intended, ModelSaid, Returned
from headrace.cli.printed import LINE_CHARS_MAX, Printed, plain
from headrace.cli.terminal import Terminal


@pytest.mark.parametrize(
    ("said", "finished", "line"),
    [
        ("one\ntwo", ["one"], "two"),
        ("10 %\r100 %\n", ["100 %"], ""),
        ("long line\rshort\n", ["shortline"], ""),
        ("ab\b\bc", [], "cb"),
        ("\x1b[31mred\x1b[0m\x1b[2K\x1b[1A\n", ["red"], ""),
        ("\x1b]0;title\x07\x1b]52;c;cHduZWQ=\x1b\\x\x9b2Jy\x00\x07\n", ["xy"], ""),
        ("\N{RIGHT-TO-LEFT OVERRIDE}abc\n", ["abc"], ""),
        ("a\x1b[38;5", [], "a"),
        ("a\x1b\nb\n", ["a", "b"], ""),
        ("x" * 5_000, [], "x" * LINE_CHARS_MAX),
    ],
)
def test_lines_are_text_alone(said, finished, line):
    printed = Printed()
    assert printed.add(said) == finished
    assert printed.line == line


def test_a_name_that_is_no_text_is_written_out():
    assert plain("no-\udcff\t\x1b") == "no-\\udcff\t\\x1b"


@example(said="000\x1b\x1b00", cuts=[6])
@example(said="\x1b[12\x1b03m", cuts=[6])
@given(said=st.text(st.sampled_from("ab\n\r\b\x1b[]0;1m\x07\\\x9b"), max_size=60), cuts=st.lists(st.integers(1, 9), max_size=20))
def test_chunking_is_invisible_and_no_sequence_comes_through(said, cuts):
    whole, pieces, rest, found = Printed(), Printed(), said, []
    for cut in cuts:
        found += pieces.add(rest[:cut])
        rest = rest[cut:]
    found += pieces.add(rest)
    assert (found, pieces.line) == (whole.add(said), whole.line)
    assert not set("".join([*found, pieces.line])) & set("\x1b\x9b\x07\r\b")


def test_a_command_is_shown_as_it_goes_and_not_again_at_its_end():
    said: list[str] = []
    terminal = Terminal(asks=False, say=lambda line: said.append(click.unstyle(line)), draw=lambda text: said.append(click.unstyle(text)))
    terminal.hear(ModelSaid("", (Call("1.0", "run_command", '{"command":"make"}'),)))
    terminal.hear(Intended("1.0", "1.0"))
    terminal.shell("make")
    terminal.printed("one\n50 %")
    terminal.printed("\r100 %\n")
    terminal.hear(Returned("1.0", '{"exit_code":2,"stdout":"one\\n50 %\\r100 %\\n","stderr":"","stopped":"The person stopped it."}'))
    assert said[1:] == ["  │ one", "  │ 50 %", "\r", "  │ 100 %", "  exit 2 The person stopped it."]
