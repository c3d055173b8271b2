"""The relay of OpenAI's dialect: for whatever a client sends and however the answer is cut on its way."""

import json

import msgspec
from hypothesis import assume, example, given
from hypothesis import strategies as st

from headrace.core.errors import InvalidRequest
from headrace.core.usage import Usage
from headrace.wire.openai_chat import read_head
from headrace.wire.openai_upstream import StreamReader, body_for, read_answer

# ------------------------------------------------------------------------------------------------------------ towards the upstream

NAMES = st.sampled_from(["m", "gpt-5.4-nano", "org/model", 'a "quoted" name', "名前", "\\", "model", "\U0001f6b0"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"model":"m"', "model", "stream_options", '\\"model\\":']
)
KEYS = st.sampled_from(["model", "messages", "stream", "stream_options", "metadata", "x"]) | TEXTS
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
OPTIONS = st.none() | st.fixed_dictionaries({}, optional={"include_usage": st.none() | st.booleans(), "x": VALUES})


@st.composite
def written(draw: st.DrawFn, value: object) -> str:
    """`value` as one of the many texts that say it: spaces anywhere, any character of a string escaped."""
    space = st.sampled_from(["", "", "", " ", "\n", "\t \r\n"])
    if isinstance(value, str):
        return '"' + "".join(draw(_letter(letter)) for letter in value) + '"'
    if isinstance(value, list):
        inside = ",".join(draw(space) + draw(written(one)) + draw(space) for one in value)
        return f"[{inside}]" if value else "[" + draw(space) + "]"
    if isinstance(value, tuple):  # the members of an object, some of them twice
        inside = ",".join(
            f"{draw(space)}{draw(written(key))}{draw(space)}:{draw(space)}{draw(written(one))}{draw(space)}" for key, one in value
        )
        return "{" + inside + "}"
    if isinstance(value, dict):
        return draw(written(tuple(value.items())))
    return json.dumps(value)


@st.composite
def _letter(draw: st.DrawFn, letter: str) -> str:
    plain = json.dumps(letter, ensure_ascii=False)[1:-1]
    if letter == "/":
        plain = draw(st.sampled_from(["/", "\\/"]))
    if draw(st.integers(0, 19)):
        return plain
    pairs = letter.encode("utf-16-be")
    return "".join(f"\\u{pairs[at : at + 2].hex()}" for at in range(0, len(pairs), 2))


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    members: list[tuple[str, object]] = [("model", draw(NAMES)), ("messages", draw(st.lists(VALUES, max_size=2)))]
    if draw(st.booleans()):
        members.append(("stream", draw(st.none() | st.booleans())))
    if draw(st.booleans()):
        members.append(("stream_options", draw(OPTIONS)))
    members += draw(st.lists(st.tuples(st.sampled_from(["metadata", "x", "mode", "models"]) | TEXTS, VALUES), max_size=3))
    if draw(st.booleans()):
        members.append(("model", draw(NAMES)))
    draw(st.randoms(use_true_random=False)).shuffle(members)
    return draw(written(tuple(members))).encode() + draw(st.sampled_from([b"", b"\n", b"  "]))


@given(body=bodies(), its=NAMES)
@example(body=b'{"model":"m","messages":[{"model":"m"}],"stream":true}', its="n")
@example(body=b'{"mod\\u0065l":"m","messages":[],"metadata":{"model":"m"}}', its="n")
def test_an_upstream_reads_what_the_client_wrote_but_for_the_name_and_the_wish_for_usage(body, its):
    try:
        head = read_head(body)
    except InvalidRequest:
        assume(False)
        raise
    sent = json.loads(body)
    asks_itself = head.stream_options is not None and head.stream_options.include_usage is True
    got = json.loads(body_for(body, head.model, its, tells_usage=not head.stream or asks_itself))
    assert got.pop("model") == its
    sent.pop("model")
    sent_options, got_options = sent.pop("stream_options", None), got.pop("stream_options", None)
    assert got == sent
    if sent.get("stream"):
        assert got_options["include_usage"] is True
    else:
        assert got_options == sent_options


# -------------------------------------------------------------------------------------------------------------- towards the client

COUNTS = st.integers(0, 50) | st.integers(0, 2**40)
MAYBE = st.none() | COUNTS
TOLD = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": COUNTS,
        "completion_tokens": COUNTS,
        "total_tokens": MAYBE,
        "prompt_tokens_details": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "cached_tokens": MAYBE,
                "cache_write_tokens": MAYBE,
                "cache_creation_input_tokens": MAYBE,
                "cache_write_tokens_details": st.none()
                | st.fixed_dictionaries({}, optional={"ttl_30m_tokens": MAYBE, "ttl_12h_tokens": MAYBE}),
            },
        ),
        "completion_tokens_details": st.none() | st.fixed_dictionaries({}, optional={"reasoning_tokens": MAYBE, "audio_tokens": MAYBE}),
        "cached_tokens": MAYBE,
        "num_cached_tokens": MAYBE,
        "prompt_cache_hit_tokens": MAYBE,
        "cache_creation_input_tokens": MAYBE,
        "reasoning_tokens": MAYBE,
    },
)


@given(told=TOLD)
def test_segments_are_disjoint_and_sum_to_what_the_vendor_bills(told):
    usage, _, _ = read_answer(json.dumps({"choices": [], "usage": told}).encode())
    prompt, completion, total = (told.get(name) or 0 for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    if usage is None:
        assert prompt + completion == 0
        return
    assert min(msgspec.structs.astuple(usage)) >= 0
    assert usage.tokens_in == prompt
    assert usage.tokens_out in (completion, total - prompt)
    assert usage.tokens_out >= completion


CHOICES = [{"index": 0, "delta": {"content": "hi \u2028 é"}, "finish_reason": None}]


@st.composite
def frames(draw: st.DrawFn) -> list[bytes]:
    """The frames of one answer, as one vendor or another says it; all of one model."""
    said: list[bytes] = []
    for _ in range(draw(st.integers(1, 6))):
        chunk: dict[str, object] = {"model": "its", "choices": CHOICES if draw(st.integers(0, 3)) else []}
        match draw(st.integers(0, 4)):
            case 0:
                chunk["usage"] = draw(TOLD)
            case 1:
                chunk["usage"] = None
            case 2:
                chunk["x_groq"] = {"id": "r", "usage": draw(TOLD)}
            case _:
                pass
        said.append(
            json.dumps(chunk, ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from([(",", ":"), (", ", " : ")]))).encode()
        )
    return [b"data: " + one for one in said] + draw(st.sampled_from([[], [b": ping"], [b"event: ping\ndata: x"]])) + [b"data: [DONE]"]


def heard(pieces: list[bytes], *, show: bool) -> tuple[bytes, bytes, Usage | None, bool]:
    reader = StreamReader(show_usage=show)
    passed = b"".join(reader.feed(piece) for piece in pieces)
    reader.close()
    return passed, reader.held, reader.usage, reader.done


@given(
    said=frames(),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(1, 60), max_size=20),
    show=st.booleans(),
    whole=st.booleans(),
)
@example(said=[b'data: {"choices":[]}', b"data: [DONE]"], newline=b"\r", cuts=[], show=True, whole=True)
def test_chunking_is_invisible(said, newline, cuts, show, whole):
    wire = b"".join(frame.replace(b"\n", newline) + newline * 2 for frame in said)
    wire = wire if whole else wire.removesuffix(newline * 2)
    pieces, rest = [], wire
    for size in cuts:
        pieces.append(rest[:size])
        rest = rest[size:]
    frame_by_frame = [frame.replace(b"\n", newline) + newline * 2 for frame in said]
    frame_by_frame[-1] = frame_by_frame[-1] if whole else frame_by_frame[-1].removesuffix(newline * 2)
    passed, held, usage, done = heard([*pieces, rest], show=show)
    passed_as_framed, held_as_framed, *as_framed = heard(frame_by_frame, show=show)
    assert [usage, done] == as_framed
    assert passed + held == passed_as_framed + held_as_framed
    if newline != b"\r":  # whether a CR ends a line is only known with the byte after it, so that the last frame may be held longer
        assert (passed, held) == (passed_as_framed, held_as_framed)
