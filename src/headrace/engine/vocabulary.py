"""Tokens back to text, as they come: a character is said once it is whole."""

import codecs
from collections.abc import Sequence

from headrace.engine.gguf import BYTE, CONTROL, UNUSED, Vocabulary

# Marked as control in some files, yet part of what is said.
STUBBORN = {"<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"}


def _gpt2_bytes() -> dict[str, int]:
    """GPT-2's alphabet: each byte is written as a printable character, those that are none as characters from U+0100 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(rest)}


ALPHABET = _gpt2_bytes()


def token_bytes(vocabulary: Vocabulary) -> list[bytes]:
    """What each token says, as bytes; tokens that steer say nothing."""
    read = _sentencepiece if vocabulary.scheme == "llama" else _byte_level
    return [
        b"" if kind in {CONTROL, UNUSED} and word not in STUBBORN else read(word, kind)
        for word, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=False)
    ]


def _byte_level(word: str, kind: int) -> bytes:
    try:
        return bytes([ALPHABET[character] for character in word])
    except KeyError:  # an added token, written as it is
        return word.encode("utf-8", "surrogateescape")


def _sentencepiece(word: str, kind: int) -> bytes:
    if kind == BYTE:
        return bytes([int(word[3:5], 16)])
    return word.replace("\u2581", " ").encode("utf-8", "surrogateescape")


class Detokeniser:
    """The text of one answer, token by token. A character spread over several tokens is held until its last one."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, tokens: Sequence[int]) -> str:
        return self._characters.decode(b"".join(self._pieces[token] for token in tokens))

    def end(self) -> str:
        """What is left of a character that the answer did not complete."""
        return self._characters.decode(b"", True)
