"""Which generation a model's name is held to."""

import pytest

from headrace.wire.anthropic_generations import ANOTHER_MAKER, GENERATIONS, NEWEST, generation_of
from headrace.wire.openai_thoughts import ANTHROPICS_DIALECT, CLAUDE

NAMES = [
    # the name                                 is held to
    ("claude-opus-5-5", "claude-opus-5-5"),
    ("claude-opus-5-5-20260901", "claude-opus-5-5"),
    ("claude-opus-5", "claude-opus-5"),
    ("claude-opus-4-8", "claude-opus-4-8"),
    ("claude-opus-4-6", "claude-opus-4-6"),
    ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
    ("claude-opus-4-20250514", "claude-opus-4"),
    ("anthropic/claude-opus-4.6", "claude-opus-4-6"),
    ("us.anthropic.claude-sonnet-4-5-v1:0", "claude-sonnet-4-5"),
    ("Claude-3.7-Sonnet", "claude-3-7"),
    ("claude-3-5-haiku", "claude-3"),
]


@pytest.mark.parametrize(("name", "known"), NAMES)
def test_the_longest_beginning_holds(name: str, known: str):
    assert generation_of(name) is GENERATIONS[known]


def test_a_claude_that_is_not_known_is_held_to_the_newest():
    assert generation_of("claude-opus-9") is NEWEST
    assert generation_of("claude-haiku-6") is NEWEST


def test_whose_thoughts_a_model_says():
    assert {one.format for one in (NEWEST, *GENERATIONS.values())} == {CLAUDE}
    assert ANOTHER_MAKER.format == ANTHROPICS_DIALECT


BINDING = [
    ("claude-fable-5-1", True),
    ("claude-opus-5-5", True),
    ("claude-sonnet-5-5", True),
    ("claude-haiku-5-5", True),
    ("claude-sonnet-5", False),
    ("claude-fable-5", False),
    ("claude-opus-4-8", False),
    ("claude-opus-9", True),
    ("glm-5.2", False),
]


@pytest.mark.parametrize(("name", "binds"), BINDING)
def test_models_whose_thoughts_hold_in_one_conversation_only(name: str, binds: bool):
    assert generation_of(name).binds is binds


@pytest.mark.parametrize("name", ["deepseek-v4-pro", "glm-5.2", "", "kimi-k3"])
def test_other_makers(name: str):
    assert generation_of(name) is ANOTHER_MAKER


def test_every_generation_has_the_least_effort():
    """The nearest effort below any wished one exists."""
    assert all("low" in one.efforts for one in (*GENERATIONS.values(), NEWEST, ANOTHER_MAKER))
