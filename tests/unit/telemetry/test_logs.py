"""Logs: one line an event, whatever is in it."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from headrace.telemetry import set_up_logs
from headrace.telemetry.logs import HumanFormatter, JsonFormatter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("headrace")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    root.handlers[:] = []  # so that pytest's own are not closed
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def record(message: str = "a %s", *, level: int = logging.INFO, exception: bool = False, **facts: object) -> logging.LogRecord:
    caught: tuple[type[ValueError], ValueError, None] | None = None
    if exception:
        wrong = ValueError("two\nlines")
        caught = (ValueError, wrong, None)
    made = logging.LogRecord("headrace.door", level, "x.py", 1, message, ("b\nc",) if "%" in message else None, caught)
    vars(made).update(facts)
    return made


def test_json_is_one_object_a_line():
    line = JsonFormatter().format(record(request="req_1", tokens=7, path=io, _private=1))
    assert "\n" not in line
    said = json.loads(line)
    assert said.pop("time").startswith("20")
    assert said.pop("path") == str(io)
    assert said == {"level": "info", "logger": "headrace.door", "message": "a b\nc", "request": "req_1", "tokens": 7}


def test_json_carries_the_exception():
    line = JsonFormatter().format(record(exception=True, level=logging.ERROR))
    assert "\n" not in line
    assert json.loads(line)["exception"].endswith("ValueError: two\nlines\n")


HUMAN = [
    (record("hello"), False, "hello"),
    (record("hello", request="req_1"), False, "hello  request=req_1"),
    (record("mind", level=logging.WARNING), False, "warning: mind"),
    (record("mind", level=logging.WARNING), True, "warning: mind\x1b[0m"),
    (record("hello"), True, "hello"),
    (record("oh", level=logging.ERROR, exception=True), False, "ValueError: two\nlines"),
]


@pytest.mark.parametrize(("said", "colour", "ends"), HUMAN)
def test_a_person_reads_the_time_and_what_happened(said, colour, ends):
    line = HumanFormatter(colour=colour).format(said)
    assert line.endswith(ends)
    assert line.startswith("\x1b[33m") == (colour and said.levelno == logging.WARNING)


KINDS = [("auto", io.StringIO, True), ("auto", Terminal, False), ("json", Terminal, True), ("human", io.StringIO, False)]


@pytest.mark.parametrize(("kind", "stream", "as_json"), KINDS)
def test_who_reads_decides_the_form(kind, stream, as_json):
    out = stream()
    set_up_logs(out, kind, "info")
    logging.getLogger("headrace.x").info("one")
    logging.getLogger("headrace.x").debug("too fine")
    logging.getLogger("somebody.else").info("not ours, and not worth it")
    logging.getLogger("somebody.else").warning("two")
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("{") == as_json


def test_the_level_is_ours_to_choose():
    out = io.StringIO()
    set_up_logs(out, "json", "debug")
    logging.getLogger("headrace.x").debug("fine")
    assert json.loads(out.getvalue())["level"] == "debug"
