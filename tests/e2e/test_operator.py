"""What an operator asks of the real program: how the pools stand, why a request went where it went, and to read the settings again."""

import contextlib
import csv
import http.client
import io
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import ask, begin
from tests.server import PROGRAM, Installation, Running, eventually, pool, priced
from tests.vendor import TEXT, Vendor


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    with Vendor.open() as opened:
        yield opened


def a_pool(name: str, url: str, models: dict[str, str], *lines: str) -> str:
    named = ", ".join(f'"{ours}" = "{its}"' for ours, its in models.items())
    return "\n".join(("[[pool]]", f'name = "{name}"', f'endpoints = ["{url}"]', f"models = {{ {named} }}", *lines, "\n"))


CHEAP, DEAR = 'usd_per_mtok = { input = "1", output = "1" }', 'usd_per_mtok = { input = "1000", output = "1000" }'
OWNED = 'contract = { kind = "owned", usd_per_accelerator_hour = "3.60", accelerators = 8 }\ntokens_per_s = 1000\nsilicon = "nvidia-h100"'


def rows(place: Installation, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(place.run("portfolio", "--format", "json", *options).stdout)
    return found


# What is there.


@pytest.fixture
def place(tmp_path: Path, vendor: Vendor) -> Installation:
    """Two pools that are paid by the token, in Germany and in no place that is known, and machines of one's own."""
    return Installation(
        tmp_path,
        a_pool("berlin", vendor.url, {"m": "answers", "slow": "answers-long"}, 'country = "DE"', "concurrency_max = 4", CHEAP)
        + a_pool("somewhere", vendor.url, {"m": "answers", "breaks": "500"}, DEAR)
        + a_pool("cellar", vendor.url, {"own": "answers"}, 'country = "FR"', OWNED)
        + priced("m"),
    )


def test_the_pools_without_a_server(place: Installation):
    table = place.run("portfolio")
    assert "Of the settings only: there is no development key yet" in table.stderr
    for words in (
        "berlin",
        "on-premises local",
        "de eea eea-ch eu",
        "not running",
        "nvidia-h100",
        "owned, 8 at 3.60 USD/h",
        "1.00 / 1.00 (settings)",
    ):
        assert words in table.stdout, words
    found = {(row["pool"], row["model"]): row for row in rows(place)}
    assert list(found) == [("berlin", "m"), ("berlin", "slow"), ("somewhere", "m"), ("somewhere", "breaks"), ("cellar", "own")]
    assert {row["state"] for row in found.values()} == {"not running"}
    berlin, cellar = found["berlin", "m"], found["cellar", "own"]
    assert (berlin["jurisdictions"], berlin["usd_input"], berlin["usd_input_now"], berlin["contract"]) == (
        "de eea eea-ch eu",
        "1.00",
        "1.00",
        "tokens",
    )
    assert (cellar["usd_input_now"], cellar["inflight"], cellar["basis"]) == (None, None, "settings"), (
        "how full it is, only the server knows"
    )
    # 3.60 USD an hour for 1,000 tokens of answers a second, each with 8 of a prompt; a token of an answer is taken for five of a prompt.
    assert float(cellar["usd_input"]) == pytest.approx(1 / 13, abs=1e-6)
    assert float(cellar["usd_output"]) == pytest.approx(5 / 13, abs=1e-5)
    assert found["somewhere", "breaks"]["served_as"] == "500"
    as_csv = list(csv.DictReader(io.StringIO(place.run("portfolio", "--format", "csv").stdout)))
    assert [(row["pool"], row["model"]) for row in as_csv] == list(found)


def test_the_pools_as_the_server_sees_them(place: Installation, vendor: Vendor):
    with place.serving() as server:
        url = ("--url", server.base_url)
        for _ in range(3):
            assert ask(server, "m").headers["x-headrace-pool"] == "berlin"
        (first, *_), cellar = rows(place, *url), rows(place, *url)[-1]
        assert (first["pool"], first["state"], first["inflight"], first["limit"], first["answers_seen"]) == ("berlin", "open", 0, 4, 3)
        assert (cellar["usd_input_now"], cellar["contract"]) == ("0.00", "owned, 8 at 3.60 USD/h"), "what idles is free"
        connection, _ = begin(server, "slow")
        try:
            assert rows(place, *url)[0]["inflight"] == 1
            assert re.search(r"\b1/4\b", place.run("portfolio", *url).stdout)
        finally:
            connection.close()
        shown = place.run("portfolio", *url)
        assert re.search(r"settings [0-9a-f]{8}\.", shown.stderr)
        assert "not running" not in shown.stdout


def test_a_pool_that_breaks_is_closed_and_says_why(tmp_path: Path, vendor: Vendor):
    breaking = a_pool("somewhere", vendor.url, {"breaks": "500"}, DEAR, "probe_interval_ms = 0")
    place = Installation(tmp_path, breaking + "[health]\nclosed_ms = 60000\n")
    with place.serving() as server:
        for _ in range(6):
            ask(server, "breaks")
        (row,) = rows(place, "--url", server.url)
        assert (row["state"], row["usd_input_now"]) == ("closed", "1000.00")
        assert "the vendor broke" in row["why"]
        assert row["opens_in_ms"] > 0
        assert re.search(r"closed, \d+ s", place.run("portfolio", "--url", server.url).stdout)


def test_what_only_the_file_has(place: Installation):
    """A local pool needs a restart, so until then the file and the server differ."""
    with place.serving() as server:
        with (place.folder / "headrace.toml").open("a") as file:
            file.write('[[pool]]\nname = "desk"\ndialect = "local"\n')
        found = {row["pool"]: row["state"] for row in rows(place, "--url", server.url)}
    assert found == {"berlin": "open", "somewhere": "open", "cellar": "open", "desk": "not in force"}


def test_only_who_may_administer_is_told(place: Installation):
    secret = place.run("keys", "create", "laptop").stdout.strip()
    with place.serving() as server:
        refused = place.run("portfolio", "--url", server.url, "--key", secret, expect=1)
        assert "may not administer" in refused.stderr
        wrong = place.run("portfolio", "--url", server.url, "--key", "sk-hr-wrong", expect=1)
        assert "Incorrect API key" in wrong.stderr
        settings = place.folder / "headrace.toml"
        settings.write_text(f"{settings.read_text()}[server]\nport = {server.port}\n")
        assert {row["state"] for row in rows(place)} == {"open"}, "without a URL, at the address of the settings"
        told = place.run("portfolio", "--key", secret)
        assert "may not administer" in told.stderr
        assert "not running" in told.stdout
    gone = place.run("portfolio", "--url", "http://127.0.0.1:9", expect=1)
    assert "no server answers at http://127.0.0.1:9" in gone.stderr


def terminal(place: Installation, columns: int, *arguments: str) -> str:
    """What a command writes to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    environment = {**place.environment, "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        (*PROGRAM, *arguments), cwd=place.folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes to it any more
        while piece := os.read(ours, 65_536):
            said += piece
    os.close(ours)
    assert process.wait(30) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", said.decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_narrow_terminal(place: Installation, columns: int):
    said = terminal(place, columns, "portfolio")
    assert max(len(line.rstrip()) for line in said.splitlines()) <= columns
    assert "…" not in said
    for whole in ("berlin", "somewhere", "nvidia-h100", "de eea eea-ch eu"):
        assert re.search(rf"(?<!\S){whole}\b", said), f"{whole} is broken up"


def test_what_is_known(place: Installation):
    regions = json.loads(place.run("portfolio", "--regions", "oci", "--format", "json").stdout)
    sovereign = next(row for row in regions if row["region"] == "eu-frankfurt-2")
    assert (sovereign["country"], sovereign["realm"], sovereign["cloud"]) == ("DE", "oc19", "oci")
    assert "eu-sovereign" in sovereign["jurisdictions"].split()
    everywhere = json.loads(place.run("portfolio", "--regions", "--format", "json").stdout)
    assert {"oci", "aws", "azure", "gcp", "coreweave", "openai"} <= {row["cloud"] for row in everywhere}
    silicon = {row["silicon"]: row for row in json.loads(place.run("portfolio", "--silicon", "--format", "json").stdout)}
    assert (silicon["nvidia-h100"]["memory_gb"], silicon["nvidia-h100"]["bandwidth_gb_s"]) == (80, 3_350)
    for row in (*everywhere, *silicon.values()):
        assert row["source"], row
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", row["as_of"]) for row in silicon.values())
    assert "eu-frankfurt-2" in place.run("portfolio", "--regions", "oci").stdout
    assert "nvidia-gb300" in place.run("portfolio", "--silicon").stdout
    assert "did you mean aws?" in place.run("portfolio", "--regions", "awz", expect=1).stderr


def test_silicon_of_ones_own(tmp_path: Path):
    place = Installation(tmp_path, '[[silicon]]\nname = "own-chip"\nmemory_gb = 128\n')
    found = {row["silicon"]: row for row in json.loads(place.run("portfolio", "--silicon", "--format", "json").stdout)}
    assert (found["own-chip"]["memory_gb"], found["own-chip"]["source"], found["own-chip"]["as_of"]) == (128, "the settings", None)


WRONG = {
    "a region that is not there": (
        'cloud = "oci"\nregion = "eu-frankfurt"',
        "oci has no region 'eu-frankfurt' (did you mean eu-frankfurt-1",
    ),
    "a typo": ("concurency_max = 1", "did you mean `concurrency_max`?"),
    "silicon that nobody makes": ('silicon = "nvidia-h1000"', "silicon 'nvidia-h1000' is not known"),
}


@pytest.mark.parametrize("options", [(), ("--check",), ("--format", "json")], ids=" ".join)
@pytest.mark.parametrize(("line", "says"), WRONG.values(), ids=WRONG)
def test_wrong_settings(tmp_path: Path, line: str, says: str, options: tuple[str, ...]):
    place = Installation(tmp_path, a_pool("a", "http://127.0.0.1:9/v1", {"m": "m"}, line))
    done = place.run("portfolio", *options, expect=1)
    assert says in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_check(place: Installation, vendor: Vendor):
    good = place.run("portfolio", "--check").stdout.splitlines()
    assert good[0] == "✓ pools: 3, models: 4, rules: 0; a server would take them"
    assert any("pool somewhere: no jurisdiction holds" in line for line in good)
    settings = place.folder / "headrace.toml"
    settings.write_text(settings.read_text() + '[[rule]]\nname = "at-home"\njurisdictions = ["de"]\n')
    told = place.run("portfolio", "--check").stdout
    assert "rule at-home leaves no pool for breaks" in told
    assert "rule at-home leaves no pool for own" in told
    assert "for m:" not in told
    settings.write_text(settings.read_text() + a_pool("new", vendor.url, {"x": "x"}, 'api_key_env = "NO_SUCH_SECRET"'))
    assert "NO_SUCH_SECRET, which is not set" in place.run("portfolio", "--check", expect=1).stderr
    place.environment["NO_SUCH_SECRET"] = "there now"
    assert "pool new: what x costs there is not known" in place.run("portfolio", "--check").stdout


# Settings that are read again.


def wait_for(server: Running, model: str, status: int) -> bool:
    return eventually(lambda: ask(server, model).status == status, 5.0)


def test_reload(tmp_path: Path, vendor: Vendor):
    place = Installation(tmp_path, pool("vendor", vendor.url, "answers") + "[limits]\nrequests_per_minute = 0\n")
    settings = place.folder / "headrace.toml"
    with place.serving() as server:
        url = ("--url", server.base_url)
        same = place.run("reload", *url)
        assert re.fullmatch(r"The settings [0-9a-f]{8} are in force, as before: nothing in them is new\.\n", same.stdout)
        version = same.stdout.split()[2]
        assert ask(server, "answers-slowly").status == 404
        settings.write_text(pool("vendor", vendor.url, "answers", "answers-slowly"))
        done = place.run("reload", *url)
        assert done.stdout.split()[2] != version
        assert ask(server, "answers-slowly").text == TEXT
        settings.write_text(settings.read_text() + "[server]\nstop_timeout_s = 9\n")
        (needs,) = place.run("reload", *url).stderr.splitlines()
        assert needs == "What has changed in these needs a restart: server."
        assert ask(server, "answers").status == 200


BROKEN = {
    "not TOML": ("[server\n", "is not valid TOML"),
    "a typo": ("[routing]\npolicies = 'x'\n", "did you mean `policy`?"),
    "a secret that the server has not": ("SECRET", "takes its secret from the environment variable NEW_SECRET, which is not set"),
    "a rule of a place that is not": ('[[rule]]\nname = "r"\njurisdictions = ["atlantis"]\n', "no region has the jurisdiction 'atlantis'"),
    "a policy that is none": ("[routing]\npolicy = 'guess'\n", "routing.policy 'guess' is none of"),
    "a policy that does not compile": ("[routing]\npolicy = 'own_policy:best'\n", "routing.policy 'own_policy:best' can't be imported"),
}


@pytest.mark.parametrize(("more", "says"), BROKEN.values(), ids=BROKEN)
def test_a_bad_file_changes_nothing(tmp_path: Path, vendor: Vendor, more: str, says: str):
    place = Installation(tmp_path, pool("vendor", vendor.url, "answers"))
    settings = place.folder / "headrace.toml"
    (tmp_path / "own_policy.py").write_text("def best(:\n")
    place.environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(tmp_path), place.environment.get("PYTHONPATH"))))
    added = pool("new", vendor.url, "answers-slowly", api_key_env="NEW_SECRET") if more == "SECRET" else more
    with place.serving() as server:
        before = rows(place, "--url", server.url)
        settings.write_text(pool("vendor", vendor.url, "answers", "answers-slowly") + added)
        for options in (("--url", server.url), ("--url", server.url, "--key", server.key)):
            refused = place.run("reload", *options, expect=1)
            assert says in refused.stderr
            assert "Nothing has changed" in refused.stderr
            assert "internal_error" not in refused.stderr
            assert "Traceback" not in refused.stderr + server.said
        assert ask(server, "answers-slowly").status == 404
        assert ask(server, "answers").status == 200
        settings.write_text(pool("vendor", vendor.url, "answers"))
        assert rows(place, "--url", server.url)[0]["model"] == before[0]["model"]


def test_an_edited_file_is_taken_on_by_itself(tmp_path: Path, vendor: Vendor):
    place = Installation(tmp_path, pool("vendor", vendor.url, "answers"))
    with place.serving() as server:
        (place.folder / "headrace.toml").write_text(pool("vendor", vendor.url, "answers", "answers-slowly"))
        assert wait_for(server, "answers-slowly", 200)
        assert "as before" in place.run("reload", "--url", server.url).stdout


def test_reload_without_a_server(tmp_path: Path):
    place = Installation(tmp_path)
    assert "no development key yet" in place.run("reload", expect=1).stderr
    assert "no server answers" in place.run("reload", "--url", "http://127.0.0.1:9", "--key", "k", expect=1).stderr


# Why.


@pytest.fixture
def ruled(tmp_path: Path, vendor: Vendor) -> Installation:
    """The cheapest pool is outside of the rule, the next breaks, the dearest answers."""
    return Installation(
        tmp_path,
        a_pool("outside", vendor.url, {"m": "answers"}, 'country = "US"', CHEAP)
        + a_pool("breaks", vendor.url, {"m": "500"}, 'country = "DE"', 'usd_per_mtok = { input = "10", output = "10" }')
        + a_pool("answers", vendor.url, {"m": "answers"}, 'country = "FR"', DEAR, 'drops = ["seed"]')
        + priced("m")
        + '[[rule]]\nname = "eu-only"\nmodel = "m"\njurisdictions = ["eu"]\n',
    )


def why(place: Installation, request: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.run("why", request, "--format", "json").stdout)
    return found


def test_why(ruled: Installation):
    with ruled.serving() as server:
        heard = ask(server, "m", seed=7)
        assert (heard.text, heard.headers["x-headrace-pool"], heard.headers["x-headrace-attempts"]) == (TEXT, "answers", "2")
        request = heard.headers["x-request-id"]
        assert eventually(lambda: ruled.run("why", request, expect=None).returncode == 0), "while the server runs"
        told = json.loads(server.get(f"/admin/requests/{request}")[1])
    decision = why(ruled, request)
    assert decision == told, "the same, by whichever way"
    assert (decision["request"], decision["organization"], decision["project"]) == (request, "default", "default")
    assert re.fullmatch(r"development|key_\w+", decision["key"])
    assert (decision["class"], decision["model"], decision["operation"], decision["streamed"]) == ("realtime", "m", "chat", False)
    assert decision["rules"] == {"names": ["eu-only"], "jurisdictions": ["eu"]}
    assert decision["excluded"] == [{"pool": "outside", "rule": "jurisdiction"}]
    failed, answered = decision["attempts"]
    assert (failed["attempt"], failed["pool"], failed["state"], failed["cost_usd"]) == (1, "breaks", "void", None)
    assert (answered["attempt"], answered["pool"], answered["state"], answered["outcome"]) == (2, "answers", "confirmed", "completed")
    assert answered["cost_usd"] == decision["cost_usd"] == heard.headers["x-headrace-cost"]
    assert {name: count for name, count in answered["usage"].items() if count} == {"uncached": 7, "output": 5}
    assert [change["param"] for change in answered["translation"]] == ["seed"]
    assert [(one["pool"], one["verdict"]) for one in failed["placed"]] == [("breaks", "ranked"), ("answers", "not needed")]
    assert failed["placed"][0]["score"] < failed["placed"][1]["score"]
    assert {one["pool"]: one["verdict"] for one in answered["placed"]} == {"answers": "ranked", "breaks": "tried"}

    page = ruled.run("why", request).stdout
    sentences, _, tables = page.partition("\nAttempts\n")
    for words in (
        " (default/default, class realtime) asked for chat with m",
        "answers answered it at attempt 2 of 2; it cost",
        "These held: rule eu-only. Together: only where eu holds.",
        "It was kept from outside (jurisdiction).",
    ):
        assert words in sentences, page
    for pattern in (
        r"1 +breaks +upstream_failed \(void\)",
        r"2 +answers +completed",
        r"all +outside +kept out: jurisdiction",
        r"seed +dropped",
    ):
        assert re.search(pattern, tables), page
    assert max(map(len, terminal(ruled, 60, "why", request).splitlines())) <= 60


def test_why_by_the_headers_of_the_request(ruled: Installation):
    """A request may narrow what its key may do, and that is on record with the rest."""
    with ruled.serving() as server:
        done = told_by_headers(server, "m", {"x-headrace-vendors": "on-premises", "x-headrace-class": "agentic"})
        refused = told_by_headers(server, "m", {"x-headrace-jurisdictions": "us"})
    assert refused[0] == 403
    decision = why(ruled, done[1])
    assert (decision["class"], decision["rules"]["vendors"]) == ("agentic", ["on-premises"])
    assert decision["rules"]["names"] == ["eu-only", "request"]
    assert "These held: rule eu-only and what the request asked for itself." in ruled.run("why", done[1]).stdout
    kept = why(ruled, refused[1])
    assert (kept["declined"], kept["attempts"], kept["cost_usd"]) == ("not_allowed", [], "0.00")
    assert kept["rules"]["names"] == ["eu-only", "request"]
    assert {one["pool"]: one["rule"] for one in kept["excluded"]} == dict.fromkeys(("breaks", "answers", "outside"), "jurisdiction")
    page = ruled.run("why", refused[1]).stdout
    assert "No pool was asked for it, and it cost nothing: it was refused with not_allowed." in page
    assert re.search(r"all +answers +kept out: jurisdiction", page), page
    gone = ruled.run("why", "req_0", expect=1)
    assert "refused for its key, its limits, its form or want of room leaves no record" in gone.stderr


def told_by_headers(server: Running, model: str, headers: dict[str, str]) -> tuple[int, str]:
    """Status and id of a request with headers of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]})
    connection.request(
        "POST", "/v1/chat/completions", body, {"authorization": f"Bearer {server.key}", "content-type": "application/json", **headers}
    )
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers["x-request-id"]


def test_why_of_a_stream_and_of_one_that_was_left(place: Installation):
    with place.serving() as server:
        streamed = ask(server, "m", stream=True).headers["x-request-id"]
        connection, answer = begin(server, "slow")
        left = answer.headers["x-request-id"]
        answer.readline()
        connection.close()
        assert eventually(lambda: server.metric("headrace_usage_log_open_admits") == 0, 25)
    assert why(place, streamed)["streamed"] is True
    assert why(place, left)["attempts"][-1]["outcome"] == "client_left"
    assert "the client left before the end" in place.run("why", left).stdout


def test_why_of_what_died_with_the_server(place: Installation):
    with place.serving() as server:
        connection, answer = begin(server, "slow")
        request = answer.headers["x-request-id"]
        server.kill()
        connection.close()
    with place.serving():
        pass
    assert [one["state"] for one in why(place, request)["attempts"]] == ["lost"]
    assert "was lost when the server died" in place.run("why", request).stdout


def test_only_who_asked_and_who_administers_may_know(ruled: Installation):
    theirs = ruled.run("keys", "create", "theirs", "--organization", "other").stdout.strip()
    with ruled.serving() as server:
        request = ask(server, "m").headers["x-request-id"]
        mine = ask(server, "m", key=theirs).headers["x-request-id"]
        path = "/admin/requests/"
        assert eventually(lambda: server.get(path + mine)[0] == 200), "the development key administers"
        assert _status(server, path + mine, theirs) == 200
        assert _status(server, path + request, theirs) == 404
        assert _status(server, path + request, None) == 401


def _status(server: Running, path: str, key: str | None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)
    connection.request("GET", path, headers={} if key is None else {"authorization": f"Bearer {key}"})
    status = connection.getresponse().status
    connection.close()
    return status


def test_why_of_nothing(tmp_path: Path):
    place = Installation(tmp_path)
    gone = place.run("why", "req_nobody", expect=1)
    assert "No request 'req_nobody' is on record in .headrace." in gone.stderr
    assert "kept as long as the data folder is" in gone.stderr
    assert not place.data.exists(), "asking makes no data folder"
