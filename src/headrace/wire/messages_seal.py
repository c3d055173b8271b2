"""Signatures of thoughts, as clients of Anthropic's dialect hold them: Claude's as they are, another maker's with his name before them.

A signature is of use to nobody but who made it, and a client of this dialect has one field for all makers'.
"""

from headrace.wire.openai_thoughts import CLAUDE

MARK = "headrace:"


def sealed(signature: str, format: str | None) -> str:
    """The signature for the client."""
    return signature if format == CLAUDE else f"{MARK}{format or ''}:{signature}"


def unsealed(signature: str) -> tuple[str, str | None]:
    """The signature as its maker said it, and who that is."""
    if not signature.startswith(MARK):
        return signature, CLAUDE
    format, _, own = signature.removeprefix(MARK).partition(":")
    return own, format or None
