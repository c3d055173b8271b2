"""Our FOCUS file before the FinOps Foundation's own validator: `sh scripts/focus.sh` installs it; without it these tests are skipped.

It ends with 0 whatever it finds, so its words are read. Two rules of FOCUS 1.2 contradict each other: `InvoiceId-C-004` wants no invoice
where `-C-005` wants one, so that one of the two fails for every file.
"""

import csv
import re
import subprocess
from pathlib import Path

import pytest

from headrace.compose.finance import Finance
from headrace.metering.focus import COLUMNS, Names, rows_of
from headrace.metering.prices import DAY
from headrace.storage import make_folder
from tests.months import FIRST, Month, write_month

ENVIRONMENT = Path(__file__).parents[2] / ".venv-focus"
VALIDATOR = ENVIRONMENT / "bin" / "focus-validator"
CONTRADICTION = {"InvoiceId-C-004-C", "InvoiceId-C-005-C"}


@pytest.mark.parametrize("issued", [False, True])
@pytest.mark.timeout(300)
def test_the_validator_finds_nothing_but_its_own_contradiction(tmp_path: Path, issued: bool):
    if not VALIDATOR.exists():
        pytest.skip("the validator is not installed: sh scripts/focus.sh (Python 3.12, 650 MB)")
    finance = Finance(write_month(make_folder(tmp_path / "data"), Month(3)))
    invoices = {(name, "2026-11"): finance.draft(name, "2026-11", 1) for name in finance.organizations()} if issued else {}
    file = tmp_path / "focus.csv"
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, COLUMNS)
        writer.writeheader()
        writer.writerows(rows_of(finance.lines(None, FIRST, FIRST + 30 * DAY), Names(), invoices))
    (packages,) = (ENVIRONMENT / "lib").glob("python3*/site-packages")  # it reads a table of currencies from where it runs
    told = subprocess.run(
        [
            str(VALIDATOR), "--data-file", str(file), "--validate-version", "1.2.0.1", "--focus-dataset", "CostAndUsage",
            "--block-download", "--applicability-criteria", "LIST", "--show-violations",
        ],
        cwd=packages, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    total = re.search(r"Total: \d+ \| Pass: (\d+) \| Fail: (\d+)", told.stdout)
    assert total is not None, told.stdout[-2_000:] + told.stderr[-2_000:]
    failed = set(re.findall(r"^- (\S+): violations", told.stdout, re.MULTILINE))
    assert (int(total[2]), failed <= CONTRADICTION) == (1, True), failed
    assert int(total[1]) > 100
