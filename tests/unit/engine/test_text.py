"""Tokens to text, and where it stops."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.gguf import BYTE, CONTROL, NORMAL, Vocabulary
from headrace.engine.stops import StopWatch
from headrace.engine.vocabulary import ALPHABET, Detokeniser, token_bytes

LETTERS = {byte: letter for letter, byte in ALPHABET.items()}


def written(data: bytes) -> str:
    """As GPT-2's vocabulary writes these bytes."""
    return "".join(LETTERS[byte] for byte in data)


def test_tokens_say_their_bytes_and_steering_ones_nothing() -> None:
    parrot = "\U0001f99c".encode()
    words = [written(b" hello"), written(parrot[:2]), written(parrot[2:]), "<|im_end|>", "<tool_call>"]
    pieces = token_bytes(Vocabulary("gpt2", words, [NORMAL, NORMAL, NORMAL, CONTROL, CONTROL], frozenset({3})))
    assert pieces == [b" hello", parrot[:2], parrot[2:], b"", b"<tool_call>"]
    text = Detokeniser(pieces)
    assert [text.feed([0]), text.feed([1]), text.feed([2, 3])] == [" hello", "", "\U0001f99c"]


def test_sentencepiece_words() -> None:
    pieces = token_bytes(Vocabulary("llama", ["\u2581hello", "<0xC3>", "<0xA9>", "</s>"], [NORMAL, BYTE, BYTE, CONTROL], frozenset({3})))
    assert pieces == [b" hello", b"\xc3", b"\xa9", b""]


def test_a_character_that_is_never_completed_is_said_as_such() -> None:
    text = Detokeniser(["é".encode()[:1]])
    assert text.feed([0]) == ""
    assert text.end() == "\ufffd"


@given(text=st.text(), cuts=st.lists(st.integers(1, 3), max_size=60))
def test_no_cut_breaks_a_character(text: str, cuts: list[int]) -> None:
    data, pieces, at = text.encode(), [], 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    pieces.append(data[at:])
    detokeniser = Detokeniser(pieces)
    said = "".join(detokeniser.feed([token]) for token in range(len(pieces))) + detokeniser.end()
    assert said == text


def watched(stops: list[str], chunks: list[str]) -> tuple[str, bool]:
    watch = StopWatch(stops)
    said = "".join(watch.feed(chunk) for chunk in chunks)
    return said + ("" if watch.stopped else watch.end()), watch.stopped


def test_stop_texts() -> None:
    table = [
        # stops            chunks                     said          stopped
        ([], ["abc"], "abc", False),
        (["END"], ["ab", "cE", "ND", "x"], "abc", True),
        (["END"], ["abE", "N"], "abEN", False),
        (["b", "ab"], ["xab"], "x", True),
        (["\n\n"], ["a\n", "b\n", "\nc"], "a\nb", True),
        (["aab"], ["aa", "ab"], "a", True),
    ]
    for stops, chunks, said, stopped in table:
        assert watched(stops, chunks) == (said, stopped), (stops, chunks)


def test_only_what_may_be_a_stop_is_held() -> None:
    watch = StopWatch(["STOP"])
    assert watch.feed("hello S") == "hello "
    assert watch.feed("un") == "Sun"


@given(
    text=st.text(alphabet="abc", max_size=40),
    stops=st.lists(st.text(alphabet="abc", min_size=1, max_size=4), max_size=4),
    cuts=st.lists(st.integers(1, 5), max_size=40),
)
def test_chunking_is_invisible(text: str, stops: list[str], cuts: list[int]) -> None:
    chunks, at = [], 0
    for cut in cuts:
        chunks.append(text[at : at + cut])
        at += cut
    said, stopped = watched(stops, [*chunks, text[at:]])
    assert not any(stop in said for stop in stops)
    assert text.startswith(said)
    assert stopped == any(stop in text for stop in stops)
