"""Structured logs: one line an event, for a person where a terminal listens, as JSON for machines elsewhere."""

import logging
import traceback
from typing import Literal, TextIO, TypeAlias

import msgspec

LogFormat: TypeAlias = Literal["auto", "human", "json"]
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_COLOURS = {logging.WARNING: "\x1b[33m", logging.ERROR: "\x1b[31m", logging.CRITICAL: "\x1b[31m"}


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and not name.startswith("_")}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the event's own facts, and the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}{self.formatTime(record, '%z')}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return msgspec.json.encode(line, enc_hook=str).decode()


class HumanFormatter(logging.Formatter):
    """Time, message, facts; the level only where it is worth a look."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        facts = "".join(f"  {name}={value}" for name, value in _facts(record).items())
        line = f"{self.formatTime(record, '%H:%M:%S')} {level}{record.getMessage()}{facts}"
        if record.exc_info:
            line += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        colour = _COLOURS.get(record.levelno) if self._colour else None
        return f"{colour}{line}\x1b[0m" if colour else line


def set_up_logs(stream: TextIO, kind: LogFormat, level: str) -> None:
    """Send all logs, our own and those of libraries, to `stream`."""
    terminal = stream.isatty()
    human = kind == "human" or (kind == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(HumanFormatter(colour=terminal) if human else JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("headrace").setLevel(level.upper())
