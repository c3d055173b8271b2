"""Rules about data: what two of them say together."""

import pytest

from headrace.core.rules import CAPABILITIES, DATA_CLASSES, NO_RULES, Rules

EU, DE, US = frozenset({"eu"}), frozenset({"de"}), frozenset({"us"})
A, B = frozenset({"azure"}), frozenset({"oci"})
NOWHERE: frozenset[str] = frozenset()

TOGETHER = [
    # one rule                                        another                                           both
    (Rules(),                                         Rules(),                                          Rules()),
    (Rules(jurisdictions=EU),                         Rules(),                                          Rules(jurisdictions=EU)),
    (Rules(jurisdictions=EU | US),                    Rules(jurisdictions=EU),                          Rules(jurisdictions=EU)),
    (Rules(jurisdictions=NOWHERE),                    Rules(jurisdictions=EU),                          Rules(jurisdictions=NOWHERE)),
    (Rules(vendors=frozenset("ab")),                  Rules(vendors=frozenset("bc")),                   Rules(vendors=frozenset("b"))),
    (Rules(vendors=frozenset("a")),                   Rules(vendors=frozenset("b")),                    Rules(vendors=frozenset())),
    (Rules(vendors=frozenset("a")),                   Rules(),                                          Rules(vendors=frozenset("a"))),
    (Rules(vendors_denied=A),                         Rules(vendors_denied=B),                          Rules(vendors_denied=A | B)),
    (Rules(data_class="internal"),                    Rules(data_class="restricted"),                   Rules(data_class="restricted")),
    (Rules(data_class="public"),                      Rules(),                                          Rules(data_class="public")),
    (Rules(zero_retention=True),                      Rules(),                                          Rules(zero_retention=True)),
    (Rules(names=("a",)),                             Rules(names=("b",)),                              Rules(names=("a", "b"))),
    (Rules(names=("a",)),                             Rules(names=("a",)),                              Rules(names=("a",))),
]  # fmt: skip


@pytest.mark.parametrize(("one", "another", "both"), TOGETHER)
def test_together(one, another, both):
    assert one.and_(another) == both
    assert another.and_(one) == both


def test_no_rules_say_nothing():
    assert Rules() == NO_RULES
    assert (NO_RULES.jurisdictions, NO_RULES.vendors, NO_RULES.data_class, NO_RULES.zero_retention) == (None, None, None, False)


def test_the_words_are_in_order():
    """Code compares the classes of data by where they stand; the evidence of old decisions must mean the same tomorrow."""
    assert DATA_CLASSES == ("public", "internal", "confidential", "restricted")
    assert len(set(CAPABILITIES)) == len(CAPABILITIES)
