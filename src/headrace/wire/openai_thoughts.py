"""What a model thought in an earlier turn, as a client gives it back, and whose it is.

Clients hold thoughts in two forms (`openai_answer.reasoning_object`): `reasoning_content` is all of their text, `reasoning_details` are the
pieces that a vendor wants back, each with its signature. Who gathers a stream of his own may give a piece in fragments, its texts and then
its signature, or its text in `reasoning_content` alone. Read here, they are whole pieces again.

A signature is of use to nobody but who made it, and an error to anyone else, so each piece names its maker: by the `format` that we said
with it (OpenRouter's names, where it has one), or by the seal that the signature itself begins with.
"""

import msgspec

from headrace.wire.openai_chat import Message, ReasoningDetail

CLAUDE = "anthropic-claude-v1"
"""Anthropic's own, wherever Claude runs: signatures made on one platform hold on the others (platform.claude.com, "Thinking")."""
ANTHROPICS_DIALECT = "anthropic-messages"
"""Other makers' models that are served under Anthropic's dialect and sign what they think."""
BEDROCK = "bedrock"
"""What models other than Claude think on Amazon Bedrock."""
GEMINI = "google-gemini-v1"

SEALS = {"gemini:": GEMINI}
"""How a signature begins that shows by itself whose it is."""


class Thought(msgspec.Struct, frozen=True):
    """One piece: a text, with the `signature` that proves it, or in `redacted` what only its maker can read; with neither text nor
    `redacted` it is of a kind that we don't know. `format` names the maker, None where nothing tells. `place` is where it stands in its
    message, by its first fragment."""

    place: str
    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    format: str | None = None


def thoughts_of(message: Message) -> list[Thought]:
    """The pieces in the order in which they were thought. What `reasoning_content` says more than they do was never signed."""
    pieces: list[Thought] = []
    fragments: Thought | None = None
    number: int | None = None
    for at, detail in enumerate(message.reasoning_details or ()):
        if detail.data or detail.type != "reasoning.text":
            pieces.append(Thought(f"reasoning_details[{at}]", redacted=detail.data, format=_maker(detail)))
            continue
        if fragments is not None and _another(detail, fragments, number):
            pieces.append(fragments)
            fragments = None
        fragments = _longer(fragments or Thought(f"reasoning_details[{at}]"), detail)
        number = detail.index
        if fragments.signature:
            pieces.append(fragments)
            fragments = None
    if fragments is not None and fragments.text:
        pieces.append(fragments)
    return _with_content(pieces, message.reasoning_content or "")


def _maker(detail: ReasoningDetail) -> str | None:
    proof = detail.data or detail.signature or ""
    return next((format for seal, format in SEALS.items() if proof.startswith(seal)), detail.format)


def _another(detail: ReasoningDetail, fragments: Thought, number: int | None) -> bool:
    """Whether `detail` begins another piece than that of the fragments before it."""
    numbered = detail.index is not None and number is not None and detail.index != number
    format = _maker(detail)
    return numbered or (format is not None and fragments.format is not None and format != fragments.format)


def _longer(fragments: Thought, detail: ReasoningDetail) -> Thought:
    return msgspec.structs.replace(
        fragments,
        text=fragments.text + (detail.text or ""),
        signature=detail.signature or None,
        format=_maker(detail) or fragments.format,
    )


def _with_content(pieces: list[Thought], content: str) -> list[Thought]:
    """The one signed piece without a text has its text there; where there are several, nobody can tell whose it is, and no signature holds
    without its text."""
    held = "".join(piece.text for piece in pieces)
    rest = content.removeprefix(held) if content.startswith(held) else ""
    if not rest:
        return pieces
    textless = [piece for piece in pieces if piece.signature] if not held else []
    if len(textless) == 1:
        return [msgspec.structs.replace(piece, text=rest) if piece is textless[0] else piece for piece in pieces]
    formats = {piece.format for piece in pieces}
    unsigned = Thought("reasoning_content", rest, format=formats.pop() if len(formats) == 1 else None)
    return [*pieces, unsigned] if held else [unsigned, *(piece for piece in pieces if not piece.signature)]
