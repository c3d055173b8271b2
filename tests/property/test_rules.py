"""Rules: any number of them, in any order and any bracketing, say the same; together they allow what each allows, and nothing else."""

from functools import reduce

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.rules import DATA_CLASSES, NO_RULES, Rules
from headrace.portfolio import Pool
from headrace.routing import broken_rule
from headrace.testing.builders import a_pool

PLACES, VENDORS = ("eu", "de", "us", "us-gov"), ("azure", "oci", "acme")
RULES = st.builds(
    Rules,
    names=st.sampled_from(["gdpr", "finance", "request"]).map(lambda name: (name,)),
    jurisdictions=st.none() | st.frozensets(st.sampled_from(PLACES)),
    vendors=st.none() | st.frozensets(st.sampled_from(VENDORS)),
    vendors_denied=st.frozensets(st.sampled_from(VENDORS), max_size=2),
    data_class=st.none() | st.sampled_from(DATA_CLASSES),
    zero_retention=st.booleans(),
)
POOLS = st.builds(
    a_pool,
    jurisdictions=st.frozensets(st.sampled_from(PLACES)),
    vendor=st.sampled_from(VENDORS),
    data_class=st.sampled_from(DATA_CLASSES),
    zero_retention=st.booleans(),
)


def allowed(rules: Rules, pool: Pool) -> bool:
    return broken_rule(pool, rules) is None


@given(RULES, RULES)
def test_the_order_is_no_matter(one: Rules, another: Rules):
    assert one.and_(another) == another.and_(one)


@given(RULES, RULES, RULES)
def test_the_bracketing_is_no_matter(one: Rules, another: Rules, third: Rules):
    assert one.and_(another).and_(third) == one.and_(another.and_(third))


@given(RULES, RULES)
def test_said_twice_is_said_once(one: Rules, another: Rules):
    both = one.and_(another)
    assert one.and_(one) == one
    assert both.and_(both) == both.and_(one) == both


@given(RULES)
def test_no_rule_changes_nothing(one: Rules):
    assert one.and_(NO_RULES) == NO_RULES.and_(one) == one


FRANKFURT = a_pool(jurisdictions=frozenset({"eu", "de"}))
EU, DE = Rules(jurisdictions=frozenset({"eu"})), Rules(jurisdictions=frozenset({"de"}))


@given(st.lists(RULES, max_size=4), POOLS)
@example([EU, DE], FRANKFURT)
@example([EU, DE], a_pool(jurisdictions=frozenset({"eu"})))
@example([EU, DE], a_pool(jurisdictions=frozenset({"de"})))
def test_together_they_allow_what_each_of_them_allows(rules: list[Rules], pool: Pool):
    assert allowed(reduce(Rules.and_, rules, NO_RULES), pool) == all(allowed(each, pool) for each in rules)


@given(RULES, RULES, POOLS)
def test_one_more_rule_never_allows_what_was_forbidden(fewer: Rules, more: Rules, pool: Pool):
    if not allowed(fewer, pool):
        assert not allowed(fewer.and_(more), pool)


@given(RULES)
def test_a_pool_that_says_nothing_of_itself_gets_nothing_that_is_guarded(rules: Rules):
    guarded = (
        rules.jurisdictions is not None or rules.vendors is not None or rules.zero_retention or rules.data_class not in (None, "public")
    )
    assert not (guarded and allowed(rules, a_pool()))
