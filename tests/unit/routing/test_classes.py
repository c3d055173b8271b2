"""Traffic classes: what is promised where the settings say nothing, and what can't be promised."""

from typing import Any, get_args

import msgspec
import pytest

from headrace.core.identity import TrafficClass
from headrace.routing import CLASSES, TIERS, ClassTerms

TERMS = CLASSES["realtime"]


def test_every_class_has_terms_and_no_two_go_at_once():
    assert set(CLASSES) == set(get_args(TrafficClass))
    priorities = [terms.priority for terms in CLASSES.values()]
    assert len(set(priorities)) == len(priorities)


def test_who_can_wait_goes_last_pays_less_and_leaves_room():
    deferrable = [terms for terms in CLASSES.values() if terms.idle_share < 1]
    others = [terms for terms in CLASSES.values() if terms.idle_share == 1]
    assert min(terms.priority for terms in deferrable) > max(terms.priority for terms in others)
    assert all(terms.price_permille < 1_000 for terms in deferrable)
    assert all(terms.price_permille == 1_000 for terms in others)


def test_the_tiers_are_classes():
    assert set(TIERS.values()) <= set(CLASSES)
    assert not {"auto", "default"} & set(TIERS), "these leave the key's own class"


WRONG: list[dict[str, Any]] = [
    {"priority": -1},
    {"wait_ms_max": -1},
    {"usd_per_hour": -0.5},
    {"price_permille": -1},
    {"ttft_ms": 0},
    {"tpot_ms": 0},
    {"idle_share": 0},
    {"idle_share": 1.01},
]


@pytest.mark.parametrize("fields", WRONG)
def test_what_can_not_be_promised(fields):
    (name,) = fields
    with pytest.raises(ValueError, match=name):
        ClassTerms(**msgspec.structs.asdict(TERMS) | fields)


def test_the_least_that_can_be_promised():
    ClassTerms(priority=0, ttft_ms=0.1, tpot_ms=0.1, wait_ms_max=0, usd_per_hour=0, price_permille=0, idle_share=0.01)
