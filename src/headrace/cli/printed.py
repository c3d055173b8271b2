"""What a command in the sandbox says, as lines that are safe to show at a terminal: text alone, with nothing in it that commands ours.

Carriage returns and backspaces are obeyed within a line, so a progress bar is one line that changes. Everything else that could move the
cursor, colour, rename the window or reach the clipboard is left out, and so is what of a line is longer than anybody reads.
"""

import re
from typing import Final

LINE_CHARS_MAX: Final = 2_000
SEQUENCE_CHARS_MAX: Final = 4_096
_SEQUENCE: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-OQ-WYZ`-~\\])|\x9b[0-?]*[ -/]*[@-~]"
)
_UNFINISHED: Final = re.compile(r"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b]*\x1b?|[ -/]*)|\x9b[0-?]*[ -/]*)\Z")
_CONTROLS: Final = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_COMMANDS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """All of a text to be judged, as it is: what would command the terminal is written out. Tabs and ends of lines stay."""
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


class Printed:
    """Takes text in any pieces. `line` is the one that is not finished yet."""

    def __init__(self) -> None:
        self.line = ""
        self._at = 0
        self._held = ""

    def add(self, text: str) -> list[str]:
        """The lines that this finishes."""
        text = self._held + text
        unfinished = _UNFINISHED.search(text)  # before any is taken out: what stood around that one does not become another
        self._held = unfinished[0] if unfinished and len(unfinished[0]) <= SEQUENCE_CHARS_MAX else ""
        text = _SEQUENCE.sub("", text[: unfinished.start()] if unfinished else text)
        finished: list[str] = []
        for piece in re.split(r"([\n\r\b])", _CONTROLS.sub("", text)):
            match piece:
                case "\n":
                    finished.append(self.line)
                    self.line, self._at = "", 0
                case "\r":
                    self._at = 0
                case "\b":
                    self._at = max(self._at - 1, 0)
                case words:
                    self._write(words[: LINE_CHARS_MAX - self._at])
        return finished

    def _write(self, words: str) -> None:
        self.line = self.line[: self._at] + words + self.line[self._at + len(words) :]
        self._at += len(words)
