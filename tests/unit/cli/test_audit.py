"""`headrace audit`, and what other commands leave in it."""

import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from headrace.cli.main import headrace
from headrace.core.errors import HeadraceError


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(headrace, arguments)


def database() -> Path:
    return Path(".headrace") / "headrace.sqlite"


def test_what_commands_change_is_in_it() -> None:
    for arguments in (
        ("keys", "create", "by-hand", "--organization", "acme"),
        ("keys", "revoke", "by-hand"),
        ("price", "set", "answers", "--input", "1", "--output", "2"),
        ("budget", "set", "everybody", "--usd", "1000", "--period", "month"),
        ("budget", "remove", "everybody"),
    ):
        assert run(*arguments).exit_code == 0, arguments
    shown = json.loads(run("audit", "list", "--format", "json").stdout)
    assert [(one["what"], one["organization"]) for one in shown] == [
        ("api_key.created", "acme"),
        ("api_key.deleted", "acme"),
        ("price.updated", "default"),
        ("budget.updated", "default"),
        ("budget.deleted", "default"),
    ]
    assert all(one["who"].startswith("command:") for one in shown)
    latest = json.loads(run("audit", "list", "--type", "price.updated", "--limit", "1", "--format", "json").stdout)
    assert [one["resource"] for one in latest] == ["answers"]


def test_it_is_exported_and_its_chain_is_checked() -> None:
    assert "0 entries" in run("audit", "verify").stdout
    for name in ("one", "two", "three"):
        run("keys", "create", name)
    exported = [json.loads(line) for line in run("audit", "export").stdout.splitlines()]
    assert [one["number"] for one in exported] == [1, 2, 3]
    assert exported[-1]["hash"] in run("audit", "verify", "--head", exported[0]["hash"]).stdout
    assert run("audit", "verify", "--head", "00").exit_code == 1


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        ("UPDATE audit_entry SET resource = 'other' WHERE number = 2", "row 2 is not what it was"),
        ("DELETE FROM audit_entry WHERE number = 2", "row 2 is missing"),
    ],
)
def test_who_edits_it_is_found(edit: str, found: str) -> None:
    for name in ("one", "two", "three"):
        run("keys", "create", name)
    with sqlite3.connect(database(), isolation_level=None) as opened:
        with pytest.raises(sqlite3.IntegrityError, match="only appended"):
            opened.execute(edit)
        opened.execute("DROP TRIGGER audit_entry_stays")
        opened.execute("DROP TRIGGER audit_entry_is_kept")
        opened.execute(edit)
    opened.close()
    assert found in run("audit", "verify").output


def test_a_key_that_administers_is_made_here_and_is_no_parent() -> None:
    run("keys", "create", "ci", "--organization", "acme", "--role", "viewer")
    (row,) = json.loads(run("keys", "list", "--format", "json").stdout)
    assert (row["organization"], row["class"]) == ("acme", "administers: viewer")
    refused = run("keys", "create", "child", "--parent", "ci")
    assert isinstance(refused.exception, HeadraceError)
    (entry,) = json.loads(run("audit", "list", "--format", "json").stdout)
    assert json.loads(entry["details"])["role"] == "viewer"


def test_no_keys_are_made_in_a_project_that_is_archived() -> None:
    run("keys", "create", "one", "--project", "old")
    with sqlite3.connect(database()) as opened:
        opened.execute("INSERT INTO project VALUES ('default', 'old', 'old', 1, 2)")
    opened.close()
    refused = run("keys", "create", "two", "--project", "old")
    assert isinstance(refused.exception, HeadraceError)
    assert "archived" in str(refused.exception)
