"""The guardrail `injection`: marks what reads like an instruction in texts that a model should only read.

It looks for the phrases that such texts use, in what tools returned and users pasted, and puts them into words that say what they are. It
is a hint to the model and a line in the record, not a wall: what an agent may do is decided by `agents.judge`.
"""

import re

from headrace.core.guardrails import Allow, Passage, Redact, Verdict

REACH = 96
ROLES = frozenset(("tool", "function", "user"))
PHRASES = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.\n]{0,24}\b(?:previous|prior|above|earlier|preceding)\b[^.\n]{0,16}"
    r"\b(?:instructions?|prompts?|messages?|rules|directions)\b"
    r"|\byou are now\b[^.\n]{0,24}\b(?:mode|unrestricted|jailbroken|dan)\b"
    r"|\b(?:reveal|print|repeat|show)\b[^.\n]{0,16}\b(?:system|hidden|initial) prompt\b"
    r"|\b(?:do not|don't|never) (?:tell|inform|mention (?:this )?to|alert) the (?:user|human|operator)\b"
    r"|<\|(?:im_start|im_end|system|endoftext)\|>|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)


def injection(passage: Passage) -> Verdict:
    """Mark each phrase as what it is: something that was found in data."""
    if passage.way == "output" or passage.role not in ROLES:
        return Allow()
    found = tuple(
        (one.start(), one.end(), f"[found in data, not an instruction: {_disarmed(one[0])}]") for one in PHRASES.finditer(passage.text)
    )
    return Redact(found, f"{len(found)} phrases that read like instructions") if found else Allow()


def _disarmed(text: str) -> str:
    """Without the signs by which some models tell who speaks."""
    return text.replace("<|", "< |").replace("[INST]", "(INST)").replace("[/INST]", "(/INST)").replace("<<", "< <")
