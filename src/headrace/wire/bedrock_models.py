"""In what the models behind Bedrock's Converse differ, as one table: Converse says the common part alike for all of them, not this.

Rows are tried in order against the model's id; a model behind an ARN that does not show its id is known by what we call it. A model of no
row is sent only what every model takes. Sources, read in November 2026: AWS's Converse API reference and user
guide ("Adaptive thinking", "Preserved thinking", "Get validated JSON results", "Prompt caching", Nova's "Extended thinking"), Anthropic's
pages on effort, thinking and migration; what is measured and not documented says where. An unknown Claude is taken for one of the newest.
"""

import re
from typing import Literal, TypeAlias

import msgspec

from headrace.wire.openai_thoughts import BEDROCK, CLAUDE

Thinking: TypeAlias = Literal["unsaid", "budget", "adaptive", "nova", "effort"]
"""How a model is told how much to think: not at all, by a budget of tokens (Claude up to 4.5), adaptively with an effort (later ones), in
Nova 2's own way, or by OpenAI's own field."""


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of model takes, and how it counts.

    `unthinking`: how it is kept from thinking: by not asking it to, by telling it, or not at all. `efforts`: its levels above `high`.
    `samples`: temperature and top_p are taken; `samples_one`: only one of them in a request. `top_k`: where it is said. `forces_tools`: a
    tool may be made a must. `holds_schemas`: answers and tool calls can be held to a schema. `caches_on_mark`: a prompt is cached where it
    is marked; `marks_tools`: also behind tools; `keeps_an_hour`: for an hour, where that is asked for. `counts_cache_inside`: `inputTokens`
    includes what was read from and written to the cache. `format`: whose thoughts it says and takes back; `binds`: they hold only behind
    the very conversation in which they were thought.
    """

    thinking: Thinking = "unsaid"
    unthinking: Literal["unasked", "disabled", "impossible"] = "unasked"
    efforts: frozenset[str] = frozenset()
    samples: bool = True
    samples_one: bool = False
    top_k: Literal["untaken", "plain", "nova"] = "untaken"
    forces_tools: bool = True
    holds_schemas: bool = True
    caches_on_mark: bool = False
    marks_tools: bool = False
    keeps_an_hour: bool = False
    counts_cache_inside: bool = False
    format: str = BEDROCK
    binds: bool = False


_ALL_EFFORTS = frozenset({"xhigh", "max"})
_CLAUDE_3 = Traits(top_k="plain", holds_schemas=False, format=CLAUDE)
_CLAUDE_4 = msgspec.structs.replace(_CLAUDE_3, thinking="budget", caches_on_mark=True, marks_tools=True)
_CLAUDE_4_1 = msgspec.structs.replace(_CLAUDE_4, samples_one=True)
_CLAUDE_4_5 = msgspec.structs.replace(_CLAUDE_4_1, holds_schemas=True, keeps_an_hour=True)
_CLAUDE_4_6 = msgspec.structs.replace(_CLAUDE_4_5, thinking="adaptive", efforts=frozenset({"max"}))
_CLAUDE_4_7 = msgspec.structs.replace(_CLAUDE_4_6, efforts=_ALL_EFFORTS, samples=False, samples_one=False, top_k="untaken")
_CLAUDE_5 = msgspec.structs.replace(_CLAUDE_4_7, unthinking="disabled")
_CLAUDE_5_0 = msgspec.structs.replace(_CLAUDE_4_7, unthinking="impossible")
_CLAUDE_LATER = msgspec.structs.replace(_CLAUDE_5_0, binds=True)
_CLAUDE_5_5 = msgspec.structs.replace(_CLAUDE_LATER, forces_tools=False)
_NOVA = Traits(top_k="nova", holds_schemas=False, caches_on_mark=True)
_NOVA_2 = msgspec.structs.replace(_NOVA, thinking="nova")

_ROWS: tuple[tuple[re.Pattern[str], Traits], ...] = tuple(
    (re.compile(pattern), traits)
    for pattern, traits in (
        (r"claude-(instant|v2|3-(?!7))", _CLAUDE_3),
        (r"claude-(3-7|(opus|sonnet)-4-20\d{6})", _CLAUDE_4),
        (r"claude-opus-4-1(?!\d)", _CLAUDE_4_1),
        (r"claude-(opus|sonnet|haiku)-4-5(?!\d)", _CLAUDE_4_5),
        (r"claude-(opus|sonnet)-4-6(?!\d)", _CLAUDE_4_6),
        (r"claude-opus-4-[78](?!\d)", _CLAUDE_4_7),
        (r"claude-(opus|sonnet)-5(?!-?\d)", _CLAUDE_5),
        (r"claude-((opus|sonnet)-5-5|(fable|mythos)-5-[12])(?!\d)", _CLAUDE_5_5),
        (r"claude-((fable|mythos)-5(?!-?\d)|mythos-preview)", _CLAUDE_5_0),
        (r"claude", _CLAUDE_LATER),
        (r"nova-2", _NOVA_2),
        (r"\bnova-", _NOVA),
        (r"titan|llama|command-r|jamba|palmyra", Traits(holds_schemas=False)),
        (r"\bopenai\.|\bgpt-", Traits(thinking="effort", efforts=frozenset({"xhigh"}))),
        # Measured, not documented: input 12,401 with 8,367 read and 4,032 written; GPT-5.6 counted so too until September 2026
        # (github.com/earendil-works/pi/issues/8752).
        (r"\bxai\.|\bgrok-", Traits(counts_cache_inside=True)),
    )
)
UNKNOWN = Traits()


def traits_of(model: str, ours: str) -> Traits:
    """What `model`, which we call `ours`, takes."""
    for name in (model, ours) if model.startswith("arn:") else (model,):
        for pattern, traits in _ROWS:
            if pattern.search(name):
                return traits
    return UNKNOWN
