"""The guardrail `pii`: e-mail addresses, telephone numbers, payment cards and IBANs, found by their form and, where they have one, by their
check digits. Light and local; names and addresses of people it does not find."""

import re
from collections import Counter
from collections.abc import Iterator

from headrace.core.guardrails import Allow, Passage, Redact, Verdict

REACH = 48
"""The longest that it finds with a space in it: an IBAN in groups of four has 42 characters."""
EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}")
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
CARD = re.compile(r"(?<![\w-])[2-6](?:[ -]?[0-9]){12,18}(?![\w-])")
PHONE = re.compile(
    r"(?<![\w+])(?<![0-9] )(?:\+|00)[1-9](?:[ ./()-]{0,2}[0-9]){6,14}(?!\w)"
    r"|(?<![\w+])\(?[2-9][0-9]{2}\)?[ .-][0-9]{3}[.-][0-9]{4}(?!\w)"
)


def pii(passage: Passage) -> Verdict:
    """Exchange each of them for its kind: `[EMAIL]`, `[PHONE]`, `[CARD]`, `[IBAN]`."""
    spans: list[tuple[int, int, str]] = []
    for start, end, kind in sorted(_found(passage.text)):
        if not spans or start >= spans[-1][1]:
            spans.append((start, end, f"[{kind}]"))
    if not spans:
        return Allow()
    kinds = Counter(name[1:-1].lower() for _, _, name in spans)
    return Redact(tuple(spans), ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))


def _found(text: str) -> Iterator[tuple[int, int, str]]:
    if "@" in text:
        yield from ((*found.span(), "EMAIL") for found in EMAIL.finditer(text))
    yield from ((*found.span(), "IBAN") for found in IBAN.finditer(text) if _is_iban(found[0]))
    yield from ((*found.span(), "CARD") for found in CARD.finditer(text) if _is_card(found[0]))
    yield from ((*found.span(), "PHONE") for found in PHONE.finditer(text))


def _is_iban(text: str) -> bool:
    """By ISO 13616: its letters as numbers, the first four behind the rest, leave 1 when divided by 97."""
    plain = text.replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    """By Luhn's formula (ISO/IEC 7812)."""
    digits = [int(letter) for letter in text if letter.isdigit()]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
