"""`headrace simulate` at a terminal: the summary, the story, the files, and what is said when something is wrong."""

import json
import tomllib

import pytest
from click.testing import CliRunner, Result

from headrace.cli.main import headrace
from headrace.core.errors import InvalidRequest, NotFound, SettingsInvalid
from headrace.storage import Reports

SHORT = ["simulate", "--hours", "0.005"]


def ran(*arguments: str) -> Result:
    found = CliRunner().invoke(headrace, arguments, catch_exceptions=True)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found


def test_a_summary_with_classes_and_pools():
    told = ran(*SHORT, "--event", "region", "--trace", "3").stdout
    for part in ("seed=1 policy=balanced", "realtime", "oci-frankfurt-mi355x", "within SLO", "comes:"):
        assert part in told


def test_reports_are_written_and_compared(tmp_path):
    one, other, page = tmp_path / "one.json", tmp_path / "other.json", tmp_path / "page.html"
    ran(*SHORT, "--json", str(one), "--html", str(page))
    ran(*SHORT, "--json", str(other), "--policy", "fastest")
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(one.read_text())["policy"] == "balanced"
    told = ran("simulate", "compare", str(one), str(other), "--html", str(page)).stdout
    assert "policy=balanced  beside" in told
    assert "USD a million tokens" in told
    assert "beside" in page.read_text()


def test_a_report_is_kept_for_the_page_with_the_command_that_made_it(tmp_path):
    data = ["--data", str(tmp_path / "data")]
    ran(*data, *SHORT)
    assert not (tmp_path / "data").exists(), "where there is no data folder, none is made for it"
    assert "Kept as report_" in ran(*data, *SHORT, "--event", "slow", "--keep").stderr
    ran(*data, *SHORT, "--no-keep")
    reports = Reports(tmp_path / "data" / "reports")
    (head,) = reports.heads()
    assert (head.kind, head.title, head.line) == ("simulation", "small, balanced", "headrace simulate --hours 0.005 --event slow")
    assert json.loads(bytes(reports.get(head.id).whole))["policy"] == "balanced"
    reports.drop(head.id)
    with pytest.raises(NotFound):
        reports.get("../../leave")


def test_json_alone_on_standard_output():
    assert json.loads(ran(*SHORT, "--json", "-").stdout)["seed"] == 1


def test_the_same_seed_gives_the_same_bytes():
    assert ran(*SHORT, "--json", "-", "--seed", "7").stdout == ran(*SHORT, "--json", "-", "--seed", "7").stdout


def test_what_there_is():
    told = ran("simulate", "--list").stdout
    assert "small" in told
    assert "region" in told


def test_a_recorded_trace(tmp_path):
    file = tmp_path / "trace.jsonl"
    rows = [{"timestamp": at * 100, "input_length": 600, "output_length": 20, "hash_ids": [1, at + 2]} for at in range(50)]
    file.write_text("\n".join(map(json.dumps, rows)))
    report = json.loads(ran(*SHORT, "--replay", f"mooncake:{file}", "--json", "-").stdout)
    assert report["served"] == 50
    assert report["tokens_cached"] > 10_000


def test_sources_fitted_to_a_trace(tmp_path):
    file = tmp_path / "trace.csv"
    rows = [f"2023-11-16 18:17:{at // 2:02}.{at % 2 * 5}000000,{300 + at},{20 + at % 7}" for at in range(100)]
    file.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    table = tomllib.loads(ran("simulate", "fit", f"azure:{file}").stdout)["source"][0]
    assert table["tokens_in"] == 349.5
    assert table["sessions_per_s"] == pytest.approx(2.0, rel=0.02)
    with pytest.raises(InvalidRequest, match="FORMAT:FILE"):
        ran("simulate", "fit", "azure")


def test_a_sweep_and_a_planet():
    rows = json.loads(
        ran("simulate", "sweep", "--hours", "0.002", "--seeds", "1,3-4", "--event", "replica+slow", "--format", "json").stdout
    )
    assert [(row["events"], row["runs"]) for row in rows] == [("-", 3), ("replica+slow", 3)]
    told = ran("simulate", "planet", "--scenario", "small", "--hours", "0.2", "--slice", "1", "--slice-minutes", "0.2").stdout
    assert "flows beside the slice" in told


@pytest.mark.parametrize(
    ("arguments", "kind", "why"),
    [
        (["--scenario", "none.toml"], SettingsInvalid, "no file"),
        (["--replay", "mooncake"], InvalidRequest, "FORMAT:FILE"),
        (["--hours", "-1"], InvalidRequest, "--hours is a number above zero, and not -1"),
        (["--hours", "nan"], InvalidRequest, "--hours"),
        (["planet", "--hours", "inf"], InvalidRequest, "--hours"),
        (["sweep", "--hours", "0"], InvalidRequest, "--hours"),
        (["--scale", "nan"], InvalidRequest, "scale"),
        (["--replay", "azure:x", "--speed", "nan"], InvalidRequest, "--speed"),
        (["planet", "--slice-minutes", "nan"], InvalidRequest, "--slice-minutes"),
        (["--pools"], SettingsInvalid, "none of the settings' pools"),
        (["sweep", "--seeds", "a"], InvalidRequest, "--seeds"),
        (["sweep", "--event", "meteor"], InvalidRequest, "meteor"),
        (["planet", "--slice", "0"], InvalidRequest, "--slice"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_what_is_wrong_is_said(arguments, kind, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=why):
        ran("simulate", *arguments)


@pytest.mark.parametrize("rows", ["", "5,chat,400,0,400,Conversation log\n"], ids=["none", "only one that failed"])
def test_a_trace_of_nothing(rows, tmp_path):
    file = tmp_path / "empty.csv"
    file.write_text(f"Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n{rows}")
    with pytest.raises(SettingsInvalid, match=r"empty\.csv, read as burstgpt, holds no request that was answered"):
        ran(*SHORT, "--replay", f"burstgpt:{file}")


def test_a_file_that_is_no_report(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("{}")
    with pytest.raises(InvalidRequest, match="is not a report"):
        ran("simulate", "compare", str(file), str(file))
