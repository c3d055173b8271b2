"""What became of a request's parameters on the way into another dialect: nothing is dropped in silence."""

from typing import Literal, TypeAlias

import msgspec

Changed: TypeAlias = Literal["dropped", "changed", "noted"]


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One parameter that the target does not take as it was asked: `param` by its path (`logit_bias`, `messages[2].name`), and why. What a
    guardrail has done is told so too, and `noted` where it only looked."""

    what: Changed
    param: str
    why: str
