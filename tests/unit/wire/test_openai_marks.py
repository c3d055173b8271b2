"""Marks that end a cached prompt, and how many of them hold for how long."""

from typing import Any

import msgspec
import pytest

from headrace.core.translation import Change
from headrace.wire.openai_chat import AudioPart, FilePart, ImagePart, Message, RefusalPart, TextPart, Tool
from headrace.wire.openai_marks import Mark, mark_of, settled

EPHEMERAL: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
BREAKPOINT: dict[str, Any] = {"prompt_cache_breakpoint": {"mode": "explicit"}}
MARKED: list[tuple[Any, dict[str, Any], Mark | None]] = [
    (TextPart, {"type": "text", "text": "a"} | EPHEMERAL, Mark("p.cache_control")),
    (TextPart, {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}, Mark("p.cache_control", "1h")),
    (TextPart, {"type": "text", "text": "a"} | EPHEMERAL | BREAKPOINT, Mark("p.prompt_cache_breakpoint")),
    (TextPart, {"type": "text", "text": "a"}, None),
    (TextPart, {"type": "text", "text": "a", "cache_control": None}, None),
    (ImagePart, {"type": "image_url", "image_url": {}} | BREAKPOINT, Mark("p.prompt_cache_breakpoint")),
    (
        AudioPart,
        {"type": "input_audio", "input_audio": {}, "prompt_cache_breakpoint": {"ttl": 30}},
        Mark("p.prompt_cache_breakpoint", "30"),
    ),
    (FilePart, {"type": "file", "file": {}} | EPHEMERAL, Mark("p.cache_control")),
    (RefusalPart, {"type": "refusal", "refusal": "a"} | EPHEMERAL, None),
    (Tool, {"function": {"name": "f"}} | EPHEMERAL, Mark("p.cache_control")),
    (Message, {"role": "user", "content": "a"} | EPHEMERAL, Mark("p.cache_control")),
    (Message, {"role": "user", "content": "a"} | BREAKPOINT, None),
]


@pytest.mark.parametrize(("kind", "said", "mark"), MARKED)
def test_where_a_mark_stands(kind: Any, said: dict[str, Any], mark: Mark | None):
    assert mark_of(msgspec.convert(said, kind), "p") == mark


SETTLED: list[tuple[list[str | None], str | None, bool, list[str | None], list[tuple[int, str]]]] = [
    # times asked       usual  hour   times kept                        changes: which mark, why
    ([], None, True, [], []),
    ([None], None, True, ["5m"], []),
    (["5m", "1h"], None, True, ["1h", "1h"], [(0, "as what is marked behind it")]),
    ([None, "1h"], None, True, ["1h", "1h"], []),
    (["1h", "5m"], None, True, ["1h", "5m"], []),
    (["1h", None, "1h", None], None, True, ["1h", "1h", "1h", "5m"], []),
    (["30m"], None, True, ["1h"], [(0, "kept for 1h")]),
    (["1h", "12h", "in_memory"], None, False, ["5m", "5m", "5m"], [(0, "kept for 5m"), (1, "kept for 5m")]),
    ([None, "5m"], "1h", True, ["1h", "5m"], []),
    ([None], "12h", True, ["1h"], [(-1, "kept for 1h")]),
    (["5m"], "12h", True, ["5m"], []),
    (["1h", "30m", None, None, None, None], None, True, [None, None, "5m", "5m", "5m", "5m"], [(0, "4 marks"), (1, "4 marks")]),
]


@pytest.mark.parametrize(("asked", "usual", "hour", "kept", "whys"), SETTLED)
def test_how_long_marks_hold(asked, usual, hour, kept, whys):
    marks = [Mark(f"m{at}", ttl) for at, ttl in enumerate(asked)]
    times, changes = settled(marks, Mark("usual", usual) if usual else None, hour=hour)
    assert times == kept
    assert [change.param for change in changes] == [f"m{at}" if at >= 0 else "usual" for at, _ in whys]
    assert all(why in change.why for change, (_, why) in zip(changes, whys, strict=True))


def test_a_dropped_mark_is_reported_as_dropped():
    _, changes = settled([Mark("a"), *[Mark("b")] * 4], None, hour=True)
    assert changes == [Change("dropped", "a", "a request has 4 marks at most")]
