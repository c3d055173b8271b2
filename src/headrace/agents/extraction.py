"""Typed extraction: what may be asked of a document that stays behind its handle, and what counts as an answer.

A model without tools reads the document and answers one question by a value of a narrow type. Such a value can be wrong, when the document
lies, but it can't tell the agent what to do: so the agent's context stays clean, and the value stays the document's where it is used.
"""

import re
from typing import Final, Literal, TypeAlias, assert_never

import msgspec

from headrace.agents.values import Value
from headrace.agents.words import ISO_DAY

Kind: TypeAlias = Literal["yes_no", "number", "day", "choice", "id"]
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_YES_NO: Final = {"yes": True, "true": True, "no": False, "false": False}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question to a document. `choices` are those of the kind `choice`, and were written by who asks."""

    asks: str
    kind: Kind
    choices: tuple[str, ...] = ()


def answer(question: Question, reply: str) -> Value:
    """The reply as a value of the type that was asked for, or None when it is anything else."""
    plain = reply.strip().strip("\"'`.")
    match question.kind:
        case "yes_no":
            return _YES_NO.get(plain.casefold())
        case "number":
            return _number(plain)
        case "day":
            return plain if ISO_DAY.fullmatch(plain) else None
        case "choice":
            return next((choice for choice in question.choices if choice.casefold() == plain.casefold()), None)
        case "id":
            return plain if ID.fullmatch(plain) else None
        case never:
            assert_never(never)


def _number(plain: str) -> float | None:
    try:
        number = float(plain.replace(",", ""))
    except ValueError:
        return None
    return number if number - number == 0 else None
