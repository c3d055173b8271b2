"""Budgets over a real socket: the real program before a vendor that keeps its own bill."""

import threading
from pathlib import Path

from tests.client import Heard, ask
from tests.server import Installation, at_once, eventually, pool, priced
from tests.vendor import Vendor

BUDGET = '[[budget]]\nname = "acme"\nusd = "{usd}"\nperiod = "total"\n'


def test_a_hard_budget_lets_pass_what_fits_and_refuses_the_rest(tmp_path: Path):
    """The bound is what the body could be at 1 USD a million tokens and 100 tokens at 4 USD: about 0.0011 USD."""
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + priced("answers") + BUDGET.format(usd="0.0012")
        with Installation(tmp_path, settings).serving() as server:
            first = ask(server, "answers", max_completion_tokens=100)
            assert (first.status, first.end) == (200, "whole"), first
            heard = [ask(server, "answers", max_completion_tokens=100) for _ in range(10)]
            refused = [one for one in heard if one.status != 200]
            assert refused, "the budget of 0.0012 USD pays for about 4 answers of 27 millionths, held at 0.0011"
            assert {one.status for one in refused} == {429}
            assert refused[0].end == "insufficient_quota"
            assert refused[0].error is not None
            assert refused[0].error["type"] == "insufficient_quota"
            assert refused[0].headers["x-should-retry"] == "false"
            assert len(vendor.bills) == 11 - len(refused)
