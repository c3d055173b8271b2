"""What Claude's generations take: dated facts by the beginning of a model's name, and what a model is held to that we don't know.

From Anthropic's documentation (models, thinking, preserved thinking, effort, structured outputs, tool choice, mid-conversation system
messages) and the types of its SDK 2.12.0, as of 2026-11-23. A model of another maker that is served under this dialect is held to the
dialect's oldest part.
"""

from typing import Literal, TypeAlias

import msgspec

from headrace.wire.openai_thoughts import ANTHROPICS_DIALECT, CLAUDE

Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """What one generation of models takes. The defaults are those of the newest models, and so nearly of any Claude that we don't know.

    `thinking` is how thoughts are asked for: `adaptive` with an effort, or a `budget` of tokens. `unthinking` is how they are asked to be
    left out: by which type, by saying nothing (None), or not at all (`impossible`). `sampling`: takes temperature, top_p and top_k;
    `sampling_together`: temperature and top_p in one request. `schemas`: structured outputs and strict tools. `forces_tools`: a tool may
    be made a must. `system_turns`: instructions may stand in the middle of a conversation. `prefill`: an answer may be begun for it.
    `binds`: thoughts hold only behind the very conversation in which they were thought, and only where the model thinks. `claude`:
    Anthropic's own, whose thoughts are signed and which Anthropic's newer options are meant for.
    """

    thinking: Literal["adaptive", "budget", "none"] = "adaptive"
    efforts: tuple[Effort, ...] = ("low", "medium", "high", "xhigh", "max")
    unthinking: Literal["disabled", "between_tools", "impossible"] | None = "disabled"
    sampling: bool = False
    sampling_together: bool = False
    schemas: bool = True
    forces_tools: bool = True
    system_turns: bool = False
    prefill: bool = False
    binds: bool = False
    claude: bool = True

    @property
    def format(self) -> str:
        """Whose thoughts it says, and takes back."""
        return CLAUDE if self.claude else ANTHROPICS_DIALECT


NEWEST = Generation(binds=True)
_ALWAYS_THINKS = Generation(unthinking="impossible", system_turns=True)
_UNFORCED = Generation(unthinking="impossible", system_turns=True, forces_tools=False, binds=True)
_4_6 = Generation(efforts=("low", "medium", "high", "max"), unthinking=None, sampling=True)
_4_5 = Generation(thinking="budget", unthinking=None, sampling=True, prefill=True)
_4_0 = Generation(thinking="budget", unthinking=None, sampling=True, sampling_together=True, schemas=False, prefill=True)
_3_0 = Generation(thinking="none", unthinking=None, sampling=True, sampling_together=True, schemas=False, prefill=True)
ANOTHER_MAKER = Generation(thinking="budget", sampling=True, sampling_together=True, schemas=False, prefill=True, claude=False)

GENERATIONS: dict[str, Generation] = {
    "claude-fable-5": _ALWAYS_THINKS,
    "claude-fable-5-1": _UNFORCED,
    "claude-fable-5-2": _UNFORCED,
    "claude-mythos-5": _ALWAYS_THINKS,
    "claude-mythos-5-1": _UNFORCED,
    "claude-mythos-5-2": _UNFORCED,
    "claude-mythos-preview": Generation(unthinking="impossible"),
    "claude-opus-5": Generation(system_turns=True),
    "claude-opus-5-5": _UNFORCED,
    "claude-sonnet-5-5": Generation(unthinking="between_tools", forces_tools=False, binds=True),
    "claude-sonnet-5": Generation(),
    "claude-haiku-5-5": Generation(binds=True),
    "claude-opus-4-8": Generation(unthinking=None, system_turns=True),
    "claude-opus-4-7": Generation(unthinking=None),
    "claude-opus-4-6": _4_6,
    "claude-sonnet-4-6": _4_6,
    "claude-opus-4-5": _4_5,
    "claude-sonnet-4-5": _4_5,
    "claude-haiku-4-5": _4_5,
    "claude-opus-4-1": _4_5,
    "claude-opus-4": _4_0,
    "claude-sonnet-4": _4_0,
    "claude-3-7": _4_0,
    "claude-3": _3_0,
}
"""By the beginning of the name; the longest that fits holds."""


def generation_of(model: str) -> Generation:
    """The generation of `model`, under whatever prefix a cloud or a reseller puts before its name."""
    at = model.lower().find("claude-")
    if at < 0:
        return ANOTHER_MAKER
    name = model.lower()[at:].replace(".", "-")
    fitting = [known for known in GENERATIONS if name.startswith(known)]
    return GENERATIONS[max(fitting, key=len)] if fitting else NEWEST
