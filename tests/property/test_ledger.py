"""The books are a function of the set of records: no order, no repetition and no cut in between changes a balance."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace.core.usage import Usage
from headrace.metering import Admit, Ledger, Lost, Record, Settle, Void, admitted

COST = st.none() | st.integers(0, 2**63 - 1)
MOMENTS = st.integers(0, 5)


@st.composite
def admits(draw: st.DrawFn) -> Admit:
    """Few ids, so that records meet; what an id is admitted for is the same each time it is said."""
    request, attempt = draw(st.sampled_from(["a", "b", "c"])), draw(st.integers(0, 1))
    rng = Random(f"{request}{attempt}")
    return Admit(
        request, attempt, 1, rng.choice(["acme", "acme/x"]), "demo", "key_1", "batch", "chat", rng.choice(["m", "n"]), "p", False,
        Usage(10, output=10), rng.choice([None, 2**62, 77]), None,
    )  # fmt: skip


SETTLES = st.builds(
    Settle,
    admits(),
    MOMENTS,
    st.builds(Usage, st.integers(0, 3)),
    COST,
    st.sampled_from(["confirmed", "estimated"]),
    st.just("completed"),
    st.none(),
    st.just(1),
)
RECORDS: st.SearchStrategy[Record] = (
    admits() | SETTLES | st.builds(Lost, admits(), MOMENTS) | st.builds(Void, admits(), MOMENTS, st.just("refused"))
)


@given(records=st.lists(RECORDS, max_size=20), rng=st.randoms(use_true_random=False))
def test_any_order_and_any_repetition_gives_the_same_balances(records, rng):
    once = Ledger(records)
    again = records + rng.choices(records, k=len(records)) if records else []
    rng.shuffle(again)
    assert Ledger(again).balances == once.balances
    assert Ledger(again).standings == once.standings


@given(records=st.lists(RECORDS, max_size=20))
def test_transfers_alone_give_the_balances(records):
    ledger, replayed = Ledger(records), Ledger()
    for transfer in (*ledger.transfers, *ledger.transfers):
        replayed.post(transfer)
    assert replayed.balances == ledger.balances


class Books(RuleBasedStateMachine):
    """Records arrive in any order, are repeated, and the process starts again from what it has, in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[Record] = []
        self.ledger = Ledger()

    @rule(record=RECORDS)
    def say(self, record):
        self.said.append(record)
        self.ledger.book(record)

    @rule(rng=st.randoms(use_true_random=False))
    def say_again(self, rng):
        if self.said:
            self.ledger.book(rng.choice(self.said))

    @rule(rng=st.randoms(use_true_random=False))
    def start_again(self, rng):
        rng.shuffle(self.said)
        again = Ledger(self.said)
        assert again.balances == self.ledger.balances
        self.ledger = again

    @invariant()
    def the_sum_is_zero(self):
        assert sum(self.ledger.balances.values()) == 0

    @invariant()
    def customers_owe_what_holds_and_no_more(self):
        owed = sum(pico for account, pico in self.ledger.balances.items() if account.startswith("customer:"))
        assert owed == sum(stands.cost_pico or 0 for stands in self.ledger.standings.values())

    @invariant()
    def every_attempt_stands_somewhere(self):
        assert set(self.ledger.standings) == {admitted(record).id for record in self.said}


TestBooks = Books.TestCase
