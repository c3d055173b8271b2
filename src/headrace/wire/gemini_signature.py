"""Gemini's thought signatures on their way through a client, who gives them back in the next turn.

A signature belongs to one part of an answer: to a thought, to the text or to one call. OpenAI's dialect has no place for it, so it travels
as `reasoning_details`, sealed together with the place where it belongs: `gemini:PLACE:SIGNATURE`. The place of a call is the call's id,
any other place is empty. The mark in front tells our vendor's thoughts from another's, which Gemini would refuse. Signatures are base64,
so that a colon always ends the place.
"""

from headrace.wire.openai_thoughts import GEMINI, SEALS

_MARK = next(seal for seal, format in SEALS.items() if format == GEMINI)

SKIP = "skip_thought_signature_validator"
"""What Google's documentation offers for calls that were never signed: taken over from another vendor, or from a client who keeps no
thoughts. Without it a model that signs its calls refuses the whole conversation."""


def sealed(signature: str, place: str = "") -> str:
    return f"{_MARK}{place}:{signature}"


def opened(seal: str | None) -> tuple[str, str] | None:
    """Place and signature; None for what is not Gemini's. Of several that were joined the last one counts."""
    if seal is None or not seal.startswith(_MARK):
        return None
    place, _, signature = seal.rpartition(_MARK)[2].rpartition(":")
    return place, signature
