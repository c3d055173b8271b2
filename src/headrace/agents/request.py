"""What the person said in a run, read for what it names: the only text whose words are taken for the person's."""

import re
from functools import cached_property

from headrace.agents.capabilities import asked_for
from headrace.agents.cards import EffectKind
from headrace.agents.words import FUNCTION_WORDS, QUOTED, Day, days, emails, holds, numbers, urls, words

SHORT_NUMBER_MAX = 999
_PLACEHOLDER = re.compile(r"\{[^{}]+\}")
_CAPITALISED = re.compile(r"[^\W\d_][^\W_]*")
_SUPERLATIVES = {"largest": 1, "biggest": 1, "smallest": -1}
_SENTENCE_ENDS = ".!?:\n"


class Request:
    """All that the person said, in order."""

    def __init__(self, said: tuple[str, ...]) -> None:
        self.text = "\n".join(said)
        self.low = self.text.casefold()

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(words(self.text))

    @cached_property
    def run_of_words(self) -> str:
        return f" {' '.join(words(self.text))} "

    @cached_property
    def effects(self) -> frozenset[EffectKind]:
        return asked_for(self.words | frozenset(self.low.split()))

    @cached_property
    def emails(self) -> frozenset[str]:
        return frozenset(emails(self.text))

    @cached_property
    def urls(self) -> frozenset[str]:
        return frozenset(urls(self.text))

    @cached_property
    def numbers(self) -> frozenset[float]:
        return frozenset(numbers(self.text))

    @cached_property
    def days(self) -> tuple[Day, ...]:
        return tuple(days(self.text))

    @cached_property
    def quoted(self) -> tuple[str, ...]:
        return tuple(QUOTED.findall(self.text))

    @cached_property
    def templates(self) -> tuple[re.Pattern[str], ...]:
        """Quoted words with `{places}` to fill in: whoever writes one means nothing else."""
        return tuple(
            re.compile(".{1,80}".join(re.escape(piece) for piece in _PLACEHOLDER.split(quoted)), re.IGNORECASE)
            for quoted in self.quoted
            if _PLACEHOLDER.search(quoted)
        )

    @cached_property
    def names(self) -> frozenset[str]:
        """Words that the person wrote as names: capitalised inside of a sentence, or quoted."""
        found = set()
        for match in _CAPITALISED.finditer(self.text):
            word, before = match.group(), self.text[: match.start()].rstrip(" ")
            if word[0].isupper() and before and before[-1] not in _SENTENCE_ENDS:
                found.add(word.casefold())
        return frozenset(found - FUNCTION_WORDS)

    @cached_property
    def superlative(self) -> int:
        """1 when the largest of something is meant, -1 for the smallest, 0 when neither or both."""
        return sum(sign for word, sign in _SUPERLATIVES.items() if word in self.words)

    def typed(self, value: str) -> bool:
        """Whether the person wrote exactly this. A short number by itself may mean anything, so it must be called a number or an id."""
        low = value.strip().casefold()
        if not low:
            return False
        if low.isdigit() and int(low) <= SHORT_NUMBER_MAX:
            return re.search(rf"(?:\bids?|#|\bnumber)\W{{0,3}}{low}(?!\w)", self.low) is not None
        if "@" in low:
            return low in self.emails
        return holds(self.low, low)

    def calls(self, name: str) -> bool:
        """Whether the person called something by this name: all of it, or a name that is a word of it. An ending of a file counts not."""
        said = words(name.rpartition(".")[0] or name)
        if FUNCTION_WORDS.issuperset(said):
            return False
        return f" {' '.join(said)} " in self.run_of_words or not self.names.isdisjoint(said)
