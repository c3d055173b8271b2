"""One truth: the ledger, the usage API, the costs API, the invoices, the FOCUS file and the journal for hledger say the same of the same
random month, to the last pico-dollar."""

import csv
import io
import subprocess
from decimal import Decimal
from pathlib import Path
from random import Random

import msgspec
import pytest

from headrace.api import Asked
from headrace.compose.finance import Finance
from headrace.core.money import PICO_PER_USD
from headrace.metering import Ledger, Settle, faults, standing
from headrace.metering.focus import COLUMNS, Names, rows_of
from headrace.metering.hledger import named
from headrace.metering.ledger import customer
from headrace.metering.prices import DAY
from headrace.storage import Layout, connect, make_folder
from headrace.storage.rollups import tidy
from headrace.storage.segment import framed, header
from tests.months import FIRST, ORGANIZATIONS, Month, write_month
from tests.needs import need

MONTH = "2026-11"
UNTIL = FIRST + 30 * DAY
SEEDS = range(4)


@pytest.fixture(scope="module", params=SEEDS)
def month(request: pytest.FixtureRequest) -> Month:
    return Month(request.param)


@pytest.fixture(scope="module")
def layout(month: Month, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return write_month(make_folder(tmp_path_factory.mktemp("month")), month, Random(len(month.records)))


@pytest.fixture(scope="module")
def owed(month: Month) -> dict[str, int]:
    """What each organisation owes, by the ledger in memory."""
    balances = Ledger(month.said).balances
    return {
        organization: sum(pico for account, pico in balances.items() if account.startswith(customer(organization, "")))
        for organization in ORGANIZATIONS
    }


@pytest.fixture(scope="module", params=["as loaded", "with sums by the hour"])
def finance(layout: Layout, request: pytest.FixtureRequest) -> Finance:
    if request.param != "as loaded":
        database = connect(layout.database)
        while tidy(database):
            pass
        database.close()
    return Finance(layout)


def asked(organization: str, *group: str) -> Asked:
    return Asked(organization=organization, operation="chat", start=FIRST, end=UNTIL, width=DAY, group=group, only={})


def test_the_ledger_is_whole(finance):
    assert finance.audit() == []


def test_the_costs_api_says_what_the_ledger_does(finance, owed):
    for group in ((), ("line_item",), ("project_id", "api_key_id"), ("user_id",)):
        assert {name: sum(each.pico for each in finance.costs(asked(name, *group))) for name in owed} == owed


def test_the_usage_api_counts_the_tokens_that_are_charged(finance, month):
    ledger = Ledger(month.said)
    charged = [
        stands
        for stands in ledger.standings.values()
        if stands.state in ("lost", "estimated", "confirmed")
        and not any(isinstance(one, Settle) and one.ours and standing(one) == stands for one in month.said)
    ]
    for organization in ORGANIZATIONS:
        theirs = [one for one in charged if one.admitted.organization == organization]
        for group in ((), ("model", "project_id"), ("user_id",), ("batch", "service_tier", "api_key_id")):
            found = finance.used(asked(organization, *group))
            assert sum(one.requests for one in found) == len(theirs)
            assert sum(one.usage.total for one in found) == sum(one.usage.total for one in theirs)
            assert sum(one.usage.cached for one in found) == sum(one.usage.cached for one in theirs)


def test_invoices_add_up_to_the_ledger_and_can_be_computed_again(finance, owed):
    for organization, pico in owed.items():
        made = finance.draft(organization, MONTH, UNTIL)
        assert made.exact_pico == pico
        assert made.exact_pico == made.total_cents * PICO_PER_USD // 100 + made.residue_pico
        records = list(finance.attempts(organization, FIRST, UNTIL))
        assert faults(made, records) == []
        changed = [msgspec.structs.replace(records[0], cost_pico=records[0].cost_pico + 1), *records[1:]]
        assert len(faults(made, changed)) == 2, "one pico-dollar in one record is found by the root and by the sum"


def test_focus_says_what_the_ledger_does(finance, owed):
    for organization, pico in owed.items():
        made = finance.draft(organization, MONTH, UNTIL)
        lines = finance.lines(organization, FIRST, UNTIL)
        file = io.StringIO()
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows_of(lines, Names(), {(organization, MONTH): made}))
        rows = list(csv.DictReader(io.StringIO(file.getvalue())))
        assert sum(Decimal(row["BilledCost"]) for row in rows if row["ChargeCategory"] == "Usage") * PICO_PER_USD == pico
        assert sum(Decimal(row["BilledCost"]) for row in rows) * 100 == made.total_cents, "with the rounding it is what is asked for"
        for row in rows:
            if row["PricingUnit"] == "1000000 Tokens":
                assert Decimal(row["PricingQuantity"]) * Decimal(row["ListUnitPrice"]) == Decimal(row["ListCost"])
                assert Decimal(row["PricingQuantity"]) * Decimal(row["ContractedUnitPrice"]) == Decimal(row["ContractedCost"])
                assert (Decimal(row["ListCost"]) > Decimal(row["BilledCost"])) == (organization == "globex"), "who has a contract pays less"


def test_the_journal_passes_hledger_and_says_what_the_ledger_does(finance, month, tmp_path: Path):
    program = need("hledger")
    file = tmp_path / "month.journal"
    file.write_text(finance.journal(FIRST, UNTIL))
    checked = subprocess.run([program, "-f", str(file), "check", "--strict"], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    told = subprocess.run(
        [program, "-f", str(file), "balance", "--flat", "--no-total", "-O", "csv"], capture_output=True, text=True, timeout=60, check=True
    )
    found = {row["account"]: Decimal(row["balance"].split()[0]) for row in csv.DictReader(io.StringIO(told.stdout))}
    expected: dict[str, int] = {}
    for account, pico in Ledger(month.said).balances.items():
        expected[named(account)] = expected.get(named(account), 0) + pico
    assert {account: usd * PICO_PER_USD for account, usd in found.items()} == {account: pico for account, pico in expected.items() if pico}


def test_one_flipped_bit_is_found(month, tmp_path: Path):
    layout = make_folder(tmp_path / "flipped")
    frames = [framed(msgspec.msgpack.encode(record)) for record in month.records[:40]]
    path = layout.usage / "0000000000001-1-000000.sealed"
    path.write_bytes(header(1, 1, "x") + b"".join(frames))
    finance = Finance(layout)
    assert finance.audit() == []
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert any("are not those that were loaded" in fault for fault in finance.audit())
