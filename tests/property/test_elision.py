"""Whatever is written in a long request, what it is admitted and placed by is read the same with and without its texts."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace.wire.elision import TEXT_MIN, without_texts
from headrace.wire.openai_chat import ChatHead

_heads = msgspec.json.Decoder(ChatHead)
PIECES = st.sampled_from(['"', "\\", '\\"', "\n", '"content":"', '"model":"x"', "}", "é", "\U0001f6b0", "words " * 50, "w" * TEXT_MIN])
TEXTS = st.lists(PIECES, max_size=12).map("".join)
PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=3)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS | PARTS}), max_size=6)
MEMBERS = {
    "max_tokens": st.integers(1, 9),
    "stream": st.booleans(),
    "prompt_cache_key": TEXTS,
    "metadata": st.dictionaries(TEXTS, TEXTS, max_size=2),
}


@given(messages=MESSAGES, first=st.booleans(), ascii_only=st.booleans(), others=st.fixed_dictionaries({}, optional=MEMBERS))
def test_the_facts_are_the_same(messages, first, ascii_only, others):
    asked = {"model": "m", **others, "messages": messages} if first else {"messages": messages, **others, "model": "m"}
    body = json.dumps(asked, ensure_ascii=ascii_only).encode()
    read, whole = _heads.decode(without_texts(body)), _heads.decode(body)
    for field in ChatHead.__struct_fields__:
        if field != "messages":
            assert getattr(read, field) == getattr(whole, field)
    assert len(json.loads(bytes(read.messages))) == len(messages)
