"""What can be read off a text without understanding it: words, addresses, hosts, numbers, days. Nothing here interprets."""

import re
from typing import Final

import msgspec

WORD: Final = re.compile(r"[^\W_]+")
EMAIL: Final = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
URL: Final = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]*://|www\.)[^\s<>\"'`)\]}]+|\b(?:[a-z0-9-]+\.)+[a-z]{2,24}(?:/[^\s<>\"'`)\]}]*)?", re.IGNORECASE
)
NUMBER: Final = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])")
CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{4,}[A-Za-z0-9]")
QUOTED: Final = re.compile("(?<!\\w)['\"\u2018\u201c](.+?)['\"\u2019\u201d](?!\\w)", re.DOTALL)
ISO_DAY: Final = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
DIGITS_OF_A_CODE: Final = 4
_SAID_MONTHS: Final = "january february march april may june july august september october november december"

_MONTHS: Final = tuple(_SAID_MONTHS.split(" "))
_MONTH: Final = {**{name: at for at, name in enumerate(_MONTHS, 1)}, **{name[:3]: at for at, name in enumerate(_MONTHS, 1)}}
_NAMES: Final = "|".join(sorted(_MONTH, key=len, reverse=True))
_MONTH_DAY: Final = re.compile(rf"\b({_NAMES})\.? (\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (\d{{4}}))?", re.IGNORECASE)
_DAY_MONTH: Final = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? ({_NAMES})\b\.?(?:,? (\d{{4}}))?", re.IGNORECASE)

_SAID_FUNCTION_WORDS: Final = (
    "a an and any are as at be been but by can d did do does done for from had has have he hello her here hi him his how i if in into is "
    "it its just ll m me my no not of off on one or our out please re s she so some t than thank thanks that the their them then there "
    "these they this those to two up us ve was we were what when where which who will with would you your"
)
FUNCTION_WORDS: Final = frozenset(_SAID_FUNCTION_WORDS.split(" "))
"""Words that carry nothing by themselves."""


class Day(msgspec.Struct, frozen=True, gc=False):
    """A day that somebody wrote; `year` is 0 where none was given, and then fits every year."""

    year: int
    month: int
    day: int

    def fits(self, other: "Day") -> bool:
        return (self.month, self.day) == (other.month, other.day) and (not self.year or not other.year or self.year == other.year)


def words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def days(text: str) -> list[Day]:
    """The days that a text names: `2024-05-19`, `May 19th, 2024`, `19 May`."""
    found = [Day(int(year), int(month), int(day)) for year, month, day in ISO_DAY.findall(text)]
    found += [Day(int(year or 0), _MONTH[month.casefold()], int(day)) for month, day, year in _MONTH_DAY.findall(text)]
    found += [Day(int(year or 0), _MONTH[month.casefold()], int(day)) for day, month, year in _DAY_MONTH.findall(text)]
    return found


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


def urls(text: str) -> list[str]:
    """The addresses of hosts that a text names, e-mail addresses apart, each without its scheme and what a sentence puts behind it."""
    return [plain_url(url) for url in URL.findall(EMAIL.sub(" ", text))]


def plain_url(url: str) -> str:
    """Without scheme and closing punctuation, the host in lower case: `https://A.b/C.` and `a.b/C` are one."""
    rest = url.partition("://")[2] or url
    host, slash, path = rest.rstrip(".,;:!?/").partition("/")
    return host.casefold() + slash + path


def host_of(url: str) -> str:
    """The host of an address, without port, user and path."""
    return plain_url(url).partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2].partition(":")[0]


def emails(text: str) -> list[str]:
    return [address.casefold().rstrip(".") for address in EMAIL.findall(text)]


def codes(text: str) -> list[str]:
    """What looks like the number of an account, a card, a document or a key."""
    return [
        code for code in CODE.findall(text) if sum(letter.isdigit() for letter in code) >= DIGITS_OF_A_CODE and not ISO_DAY.fullmatch(code)
    ]


def holds(text: str, value: str) -> bool:
    """Whether `value` stands in `text` by itself, not as a piece of a longer word, address or number. Both are casefolded."""
    start = text.find(value)
    while start >= 0:
        end = start + len(value)
        before = text[start - 1] if start else " "
        after = text[end : end + 2] or " "
        if not _joins(before) and not _joins(after[0]) and not (after[0] in "./" and after[1:].isalnum()) and not _goes_on(text, start):
            return True
        start = text.find(value, start + 1)
    return False


def _joins(letter: str) -> bool:
    return letter.isalnum() or letter in "@-_/+"


def _goes_on(text: str, start: int) -> bool:
    """Whether a dot before it belongs to the same word: `b.c` in `a.b.c`, not in `say. b.c`."""
    return start >= 2 and text[start - 1] == "." and text[start - 2].isalnum()
