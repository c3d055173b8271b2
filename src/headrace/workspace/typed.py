"""What a person types in the browser while they have it: kept in memory as long as the browser lives, so that nothing of it is ever told.

A page shows what is typed: a field holds it, an address carries it, a next page greets by it. All that an agent is told of a page goes
through `hide`, which puts a mark in its place. What is shorter than four letters is hidden where a field holds exactly that, since it
stands in half the words of a page.
"""

import re
from typing import Final
from urllib.parse import quote, quote_plus

from headrace.agents.values import Value

MARK: Final = "[not shown]"
WITHIN_CHARS_MIN: Final = 4
_FIELD: Final = re.compile(r"^(?P<field>\s*- (?:textbox|searchbox|combobox|spinbutton)\b.*?\]?): (?P<value>.+)$", re.MULTILINE)


class Typed:
    """Letters in the order in which they are typed; a key that is no letter begins another word."""

    def __init__(self) -> None:
        self._words: set[str] = set()
        self._now = ""

    @property
    def begun(self) -> bool:
        """Whether anything was typed since."""
        return bool(self._now)

    def add(self, text: str) -> None:
        self._now += text

    def back(self) -> None:
        """The last letter is deleted."""
        self._now = self._now[:-1]

    def end(self) -> None:
        """What comes next is something else."""
        self.note(self._now)
        self._now = ""

    def note(self, text: str) -> None:
        """This was typed, as the page's field has it."""
        self._words |= {word for word in (" ".join(text.split()), *text.splitlines()) if word.strip()}

    def hide(self, value: Value, fields: frozenset[str] = frozenset()) -> Value:
        """The same without it, and without what `fields` for passwords hold, where a field of the page's tree shows exactly that."""
        if isinstance(value, str):
            return self._without(value, fields)
        if isinstance(value, list):
            return [self.hide(each, fields) for each in value]
        if isinstance(value, dict):
            return {name: self.hide(each, fields) for name, each in value.items()}
        return value

    def _without(self, text: str, fields: frozenset[str]) -> str:
        hidden = self._words | fields
        text = _FIELD.sub(lambda found: f"{found['field']}: {MARK}" if found["value"].strip("\"'") in hidden else found[0], text)
        long = {word for word in self._words if len(word) >= WITHIN_CHARS_MIN}
        spelled = long | {quote(word, safe="") for word in long} | {quote_plus(word) for word in long}
        for word in sorted(spelled, key=len, reverse=True):
            text = re.sub(re.escape(word), MARK, text, flags=re.IGNORECASE)
        return text
