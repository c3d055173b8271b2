"""What finance does with the real program: prices from a day on, invoices, exports, entries, reconciliation; without a server."""

import contextlib
import csv
import io
import json
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from pyarrow import parquet

from headrace.storage import make_folder
from tests.months import Month, write_month
from tests.server import Installation

SETTINGS = """
[[pool]]
name = "openai"
endpoints = ["http://127.0.0.1:9/v1"]
models = { "gpt-5.4" = "gpt-5.4" }
vendor = "openai"
contract = { kind = "tokens" }

[[pool]]
name = "acme-cloud"
endpoints = ["http://127.0.0.1:9/v1"]
models = { "nano" = "nano", "unpriced" = "unpriced" }
silicon = "nvidia-h100"
cloud = "coreweave"
region = "us-east-04a"
tokens_per_s = 1000.0
contract = { kind = "reserved", usd_per_accelerator_hour = "2.00", accelerators = 1 }
"""


@pytest.fixture(scope="module")
def month() -> Month:
    return Month(7, attempts=120)


@pytest.fixture(scope="module")
def place(month: Month, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    place = Installation(tmp_path_factory.mktemp("finance"), SETTINGS)
    write_month(make_folder(place.data), month)
    return place


def told(place: Installation, *arguments: str) -> str:
    return place.run(*arguments).stdout


def test_the_ledger_is_whole_and_even(place):
    assert "The ledger is whole" in told(place, "ledger", "verify")
    rows = json.loads(told(place, "ledger", "balances", "--format", "json"))
    assert sum(Decimal(row["usd"]) for row in rows) == 0
    assert {row["account"].partition(":")[0] for row in rows} >= {"customer", "revenue", "suspense", "cost", "payable"}


def test_every_day_is_what_the_usage_log_says(place):
    days = json.loads(told(place, "ledger", "verify", "--by-day", "--format", "json"))
    assert len(days) > 1
    assert {day["agrees"] for day in days} == {"yes"}
    lines = [json.loads(line) for line in told(place, "usage", "export").splitlines()]
    billed = sum(Decimal(line["cost_usd"] or 0) for line in lines)
    assert sum(Decimal(day["usd_usage"]) for day in days) == sum(Decimal(day["usd_usage_log"]) for day in days) == billed
    tampered = place.data / "headrace.sqlite"
    with contextlib.closing(sqlite3.connect(tampered)) as database, database:
        hour = database.execute("SELECT hour FROM rollup WHERE state = 4 AND cost_low > 0 LIMIT 1").fetchone()[0]
        database.execute("UPDATE rollup SET hour = hour - 9600 WHERE hour = ?", (hour,))
    try:
        assert "differ" in place.run("ledger", "verify", "--by-day", expect=1).stderr, "the balances are even, the days are not"
    finally:
        with contextlib.closing(sqlite3.connect(tampered)) as database, database:
            database.execute("UPDATE rollup SET hour = hour + 9600 WHERE hour = ?", (hour - 9600,))


def test_exports_agree(place, tmp_path: Path):
    lines = [json.loads(line) for line in told(place, "usage", "export", "--month", "2026-11").splitlines()]
    rows = list(csv.DictReader(io.StringIO(told(place, "usage", "export", "--month", "2026-11", "--format", "csv"))))
    assert [row["request"] for row in rows] == [line["request"] for line in lines]
    assert sum(line["cost_pico"] or 0 for line in lines) == sum(int(row["cost_pico"] or 0) for row in rows)
    told(place, "usage", "export", "--month", "2026-11", "--format", "parquet", "--output", str(tmp_path / "u.parquet"))
    table = parquet.read_table(tmp_path / "u.parquet")
    assert sum(value or 0 for value in table["cost_usd"].to_pylist()) == sum(Decimal(line["cost_usd"] or 0) for line in lines)
    assert told(place, "usage", "export", "--organization", "nobody") == ""


def test_an_invoice_is_issued_once_and_verified_by_anybody(place, tmp_path: Path):
    draft = json.loads(told(place, "invoice", "show", "acme", "2026-11", "--format", "json"))
    told(place, "ledger", "enter", "credit", "acme", "1.50", "--name", "c1", "--memo", "sorry")
    assert "nothing has changed" in told(place, "ledger", "enter", "credit", "acme", "1.50", "--name", "c1", "--memo", "sorry")
    assert "stands for another entry" in place.run("ledger", "enter", "credit", "acme", "2", "--name", "c1", expect=1).stderr
    files = {kind: tmp_path / f"acme.{kind}" for kind in ("json", "html", "pdf")}
    told(place, "invoice", "issue", "acme", "2026-11", "--early", "--format", "json", "--output", str(files["json"]))
    issued = json.loads(files["json"].read_text())
    assert Decimal(issued["exact_pico"]) == Decimal(draft["exact_pico"]) - Decimal("1.5") * 10**12
    assert "is never changed" in place.run("invoice", "issue", "acme", "2026-11", "--early", expect=1).stderr
    records = tmp_path / "records.jsonl"
    told(place, "usage", "export", "--month", "2026-11", "--output", str(records))
    assert "is right" in told(place, "invoice", "verify", str(files["json"]), "--records", str(records))
    rows = [json.loads(line) for line in records.read_text().splitlines()]
    request = next(row["request"] for row in rows if row["organization"] == "acme" and row["cost_pico"])
    proof = tmp_path / "proof.json"
    proof.write_text(told(place, "invoice", "prove", str(files["json"]), request, "--records", str(records)))
    assert "is right" in told(place, "invoice", "verify", str(files["json"]), "--proof", str(proof))
    proof.write_text(proof.read_text().replace(request, "req_another"))
    assert "is not shown" in place.run("invoice", "verify", str(files["json"]), "--proof", str(proof), expect=1).stderr
    assert "is not on" in place.run("invoice", "prove", str(files["json"]), "req_another", "--records", str(records), expect=1).stderr
    next(row for row in rows if row["organization"] == "acme" and row["cost_pico"])["cost_pico"] += 1
    records.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "Merkle root" in place.run("invoice", "verify", str(files["json"]), "--records", str(records), expect=1).stderr
    for kind in ("html", "pdf"):
        told(place, "invoice", "show", "acme", "2026-11", "--format", kind, "--output", str(files[kind]))
    assert files["pdf"].read_bytes().startswith(b"%PDF-1.4")
    assert issued["root"] in files["html"].read_text()
    assert "acme" in told(place, "invoice", "list")
    assert "sorry" in told(place, "invoice", "show", "acme", "2026-11")
    december = json.loads(told(place, "invoice", "show", "acme", "2026-12", "--format", "json"))
    assert december["lines"] == [], "nothing was learned since, and a credit is given once"
    assert "The ledger is whole" in told(place, "ledger", "verify")
    focus = list(csv.DictReader(io.StringIO(told(place, "usage", "focus", "--month", "2026-11", "--organization", "acme"))))
    assert sum(Decimal(row["BilledCost"]) for row in focus) * 100 == issued["total_cents"]


def test_prices_from_a_day_on(place, tmp_path: Path):
    assert "2.50" in told(place, "price", "list", "--model", "gpt-5.4")
    assert "openai/gpt-5.4" in told(place, "price", "list", "--buy")
    checked = place.run("price", "check", "--format", "json", expect=1)
    assert {fault["model"] for fault in json.loads(checked.stdout) if fault["grade"] == "error"} == {"nano", "unpriced"}
    told(
        place,
        "price",
        "set",
        "nano",
        "--input",
        "0.30",
        "--output",
        "1",
        "--from",
        "2026-01-01",
        "--tier",
        "flex=0.5",
        "--call",
        "web_search=0.01",
    )
    told(place, "price", "set", "unpriced", "--input", "1", "--output", "2", "--from", "2026-01-01")
    told(place, "price", "set", "gpt-5.4", "--vendor", "openai", "--input", "9", "--output", "9", "--from", "2026-01-01")
    (fault,) = json.loads(told(place, "price", "check", "--format", "json"))
    assert (fault["model"], fault["what"]) == ("gpt-5.4", "it is sold below what the vendor charges")
    assert "not a price" in place.run("price", "set", "nano", "--input", "-1", expect=1).stderr
    other = tmp_path / "other.toml"
    other.write_text(
        '[[price]]\nmodel = "nano"\nvalid_from = 2026-01-01\nusd_per_mtok = { input = "0.60", output = "1" }\nsource = "s"\n'
        'tiers = { flex = "0.5" }\n'
    )
    changes = json.loads(told(place, "price", "diff", str(other), "--format", "json"))
    assert {"model": "nano", "what": "uncached", "usd_ours": "0.30", "usd_theirs": "0.60"} in changes
    now = json.loads(told(place, "price", "what-if", "--month", "2026-11", "--format", "json"))
    then = json.loads(told(place, "price", "what-if", "--month", "2026-11", "--book", str(other), "--format", "json"))
    known = json.loads(told(place, "price", "what-if", "--month", "2026-11", "--known", "2026-01-02", "--format", "json"))
    by_model = [{row["model"]: Decimal(row["usd_would"]) for row in rows if row["tier"] == "standard"} for rows in (now, then, known)]
    assert by_model[1]["nano"] > by_model[0]["nano"]
    assert next(row for row in known if row["model"] == "nano")["unpriced"] > 0
    flex = json.loads(told(place, "price", "what-if", "--month", "2026-11", "--tier", "flex", "--format", "json"))
    assert {row["tier"] for row in flex} == {"flex"}


def test_chargeback_with_what_stood_idle(place):
    arguments = ("usage", "--margin", "--since", "2026-11-01", "--until", "2026-12-01", "--format", "json")
    rows = json.loads(told(place, *arguments, "--by", "silicon", "--by", "pool"))
    capacity = sum(Decimal(row["usd_capacity"]) for row in rows)
    assert capacity == 2 * 24 * 30, "one accelerator at two dollars an hour, all of it on somebody"
    assert [row["pool"] for row in rows if row["requests"] == 0] == ["acme-cloud"], "and what stood idle by itself"
    by_user = json.loads(told(place, *arguments, "--by", "user"))
    assert {row["user"] for row in by_user} == {"", "ann", "bob", "(idle)"}
    assert sum(Decimal(row["usd_revenue"]) for row in by_user) == sum(Decimal(row["usd_revenue"]) for row in rows)


def test_a_vendors_bill_is_explained(place, month, tmp_path: Path):
    rows = [json.loads(line) for line in told(place, "usage", "export", "--month", "2026-11").splitlines()]
    days: dict[str, Decimal] = {}
    for row in rows:
        if row["buy_usd"] and row["buy"].startswith("openai/"):
            days[row["admitted"][:10]] = days.get(row["admitted"][:10], Decimal(0)) + Decimal(row["buy_usd"])
    bill = tmp_path / "bill.csv"
    bill.write_text("day,model,cost_usd\n" + "".join(f"{day},gpt-5.4,{usd + Decimal('0.01')}\n" for day, usd in sorted(days.items())))
    found = json.loads(told(place, "reconcile", "--vendor", "openai", str(bill), "--format", "json"))
    assert sum(Decimal(row["usd"]) for row in found) == len(days) * Decimal("0.01")
    assert "our books say" in told(place, "reconcile", "--vendor", "openai", str(bill))
    assert "needs the columns" in place.run("reconcile", "--vendor", "openai", str(place.folder / "headrace.toml"), expect=1).stderr


def test_the_journal_is_written(place, tmp_path: Path):
    told(place, "ledger", "journal", "--month", "2026-11", "--output", str(tmp_path / "j.journal"))
    assert (tmp_path / "j.journal").read_text().startswith("; headrace, 2026-11-01 to 2026-12-01\ncommodity")
    assert "2026-11-" in told(place, "ledger", "journal")


def test_capacity_that_is_paid_by_the_hour_is_posted_once(place):
    (row,) = json.loads(told(place, "usage", "capacity", "--month", "2026-11", "--format", "json"))
    assert (row["pool"], row["hours"], Decimal(row["usd"])) == ("acme-cloud", 720, Decimal(1_440))
    assert 0 < Decimal(row["usd_idle"]) < 1_440
    assert abs(Decimal(row["usd_mtok_output"]) - 5 * Decimal(row["usd_mtok_input"])) < Decimal("0.001")
    assert "idle:acme-cloud" in told(place, "ledger", "close", "2026-11")
    told(place, "ledger", "close", "2026-11")
    balances = {row["account"]: Decimal(row["usd"]) for row in json.loads(told(place, "ledger", "balances", "--format", "json"))}
    assert balances["capacity:acme-cloud"] == -1_440
    assert balances["idle:acme-cloud"] == Decimal(row["usd_idle"])
    assert "The ledger is whole" in told(place, "ledger", "verify")
