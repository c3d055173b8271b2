"""What the person said in a run, read for what it names: the only text whose words are taken for the person's."""

import re

from headrace.agents.capabilities import asked_for
from headrace.agents.cards import EffectKind
from headrace.agents.words import FUNCTION_WORDS, QUOTED, Day, days, emails, holds, numbers, urls, words

SHORT_NUMBER_MAX = 999
_PLACEHOLDER = re.compile(r"\{[^{}]+\}")
_CAPITALISED = re.compile(r"[^\W\d_][^\W_]*")
_SUPERLATIVES = {"largest": 1, "biggest": 1, "smallest": -1}
_SENTENCE = re.compile(r"(?<=[.!?])\s+|[\n;]")
_REMEMBER = re.compile(r"^(?:please |and |also )*remember(?:,? that|,? this)?[:,]? ", re.IGNORECASE)
_SENTENCE_ENDS = ".!?:\n"


class Request:
    """All that the person said, in order."""

    def __init__(self, said: tuple[str, ...]) -> None:
        text = "\n".join(said)
        in_order = words(text)
        self.low = text.casefold()
        self.words = frozenset(in_order)
        self.effects: frozenset[EffectKind] = asked_for(self.words | frozenset(self.low.split()))
        self.emails, self.urls, self.numbers = frozenset(emails(text)), frozenset(urls(text)), frozenset(numbers(text))
        self.days: tuple[Day, ...] = tuple(days(text))
        self.quoted: tuple[str, ...] = tuple(QUOTED.findall(text))
        self.templates = tuple(_template(quoted) for quoted in self.quoted if _PLACEHOLDER.search(quoted))
        """Quoted words with `{places}` to fill in: whoever writes one means nothing else."""
        self.names = _names(text)
        self.superlative = sum(sign for word, sign in _SUPERLATIVES.items() if word in self.words)
        """1 when the largest of something is meant, -1 for the smallest, 0 when neither or both."""
        self._sentences = frozenset(whole for sentence in _SENTENCE.split(text) for whole in (_whole(sentence), _told(sentence)) if whole)
        self._in_order = f" {' '.join(in_order)} "

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

    def states(self, sentence: str) -> bool:
        """Whether the person said this sentence as a whole, or asked to remember it."""
        return _whole(sentence) in self._sentences

    def calls(self, name: str) -> bool:
        """Whether the person called something by this name: all of it, or a name that is a word of it. An ending of a file counts not."""
        said = words(name.rpartition(".")[0] or name)
        if FUNCTION_WORDS.issuperset(said):
            return False
        return f" {' '.join(said)} " in self._in_order or not self.names.isdisjoint(said)


def _whole(sentence: str) -> str:
    return " ".join(sentence.casefold().split()).rstrip(".!")


def _told(sentence: str) -> str:
    """What is behind "remember that"."""
    return _whole(_REMEMBER.sub("", sentence.strip()))


def _template(quoted: str) -> re.Pattern[str]:
    return re.compile(".{1,80}".join(re.escape(piece) for piece in _PLACEHOLDER.split(quoted)), re.IGNORECASE)


def _names(text: str) -> frozenset[str]:
    """Words that the person wrote as names: capitalised inside of a sentence."""
    found = set()
    for match in _CAPITALISED.finditer(text):
        word, before = match.group(), text[: match.start()].rstrip(" ")
        if word[0].isupper() and before and before[-1] not in _SENTENCE_ENDS:
            found.add(word.casefold())
    return frozenset(found - FUNCTION_WORDS)
