"""Plans and simulations begun at the page: only by who administers, one at a time, checked at each field, ended with their server."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from headrace.compose.planning import example
from tests.processes import children, command, lives, need_processes
from tests.server import Installation, Running, eventually, pool
from tests.talker import Talker
from tests.visitor import API, Visitor

AT = "/console/reports/making"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, talker: Talker) -> Installation:
    return Installation(tmp_path_factory.mktemp("house"), pool("vendor", talker.url, "echo"))


@pytest.fixture(scope="module")
def ann(server: Running) -> Visitor:
    return Visitor(server).sign_in(server.key)


def ended(visitor: Visitor, within_s: float = 120) -> Any:
    def look() -> Any:
        making = visitor.get(AT)["making"]
        return making if making["ended"] is not None else None

    return eventually(look, within_s)


def test_only_who_administers_begins_sees_or_stops_one(place, server, ann):
    ben = Visitor(server).sign_in(place.run("keys", "create", "ben").stdout.strip())
    for method in ("GET", "POST", "DELETE"):
        assert ben.call(method, API + AT, {"kind": "simulation"} if method == "POST" else None)[0] == 403
    offered = ann.get(AT)["offered"]
    assert "small" in offered["scenarios"]


@pytest.mark.parametrize(
    ("asked", "field", "says"),
    [
        ({"source": "../../etc/passwd"}, "source", "no file"),
        ({"source": "none"}, "source", "no file"),
        ({"text": "[[pool"}, "text", "not valid TOML"),
        ({"text": "[simulation]\npolicy = 3"}, "text", "$.simulation.policy"),
        ({"source": "small", "text": "x = 1"}, "source", "not both"),
        ({"scale": -1}, "scale", ""),
        ({"hours": -1}, "hours", ""),
        ({"kind": "plan", "text": "[[demand]]\nname = 3"}, "text", "demand"),
        ({"kind": "plan", "portfolio_text": "nothing = 1"}, "portfolio_text", "nothing"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(ann, asked, field, says):
    status, told = ann.call("POST", API + AT, {"kind": "simulation", **asked})
    assert (status, told["error"]["param"]) == (400, field), told
    assert says in told["error"]["message"]


def test_one_is_done_at_a_time_and_its_report_is_kept(ann):
    asked = {"kind": "simulation", "source": "small", "hours": 0.01, "scale": 0.01, "seed": 7}
    assert ann.post(AT, asked)["making"]["ended"] is None
    assert ann.call("POST", API + AT, asked)[0] == 409
    done = ended(ann)
    assert (done["failure"], done["share"] > 0.5) == (None, True)
    report = ann.get(f"/console/reports/{done['report']}")
    assert (report["kind"], report["whole"]["seed"]) == ("simulation", 7)
    assert "--scenario small --seed 7" in report["line"]


def test_a_plan_is_made_of_files_of_the_data_folder(place, ann):
    pytest.importorskip("highspy", reason="pip install 'headrace[plan]'")
    plans = place.data / "plans"
    plans.mkdir()
    few = "[[demand]]".join(example("demand").split("[[demand]]")[:2])  # the first alone, to be solved in a moment
    (plans / "demand.toml").write_text(few)
    (plans / "portfolio.toml").write_text(example("portfolio"))
    assert ann.get(AT)["offered"]["plans"] == ["demand.toml", "portfolio.toml"]
    ann.post(AT, {"kind": "plan", "source": "demand.toml", "portfolio": "portfolio.toml"})
    done = ended(ann, 240)
    assert done["failure"] is None
    assert ann.get(f"/console/reports/{done['report']}")["kind"] == "plan"


def test_a_server_that_ends_takes_it_along_and_the_next_one_says_so(tmp_path: Path, talker: Talker):
    house = Installation(tmp_path, pool("vendor", talker.url, "echo"))
    with house.serving() as server:
        Visitor(server).sign_in(server.key).post(AT, {"kind": "simulation", "hours": 500})
    with house.serving() as server:
        ann = Visitor(server).sign_in(server.key)
        assert "server was" in ann.get(AT)["making"]["failure"]
        ann.post(AT, {"kind": "simulation", "hours": 500})
        assert ann.call("DELETE", API + AT)[0] == 204
        assert ended(ann)["failure"] == "Somebody stopped it."
    shutil.rmtree(house.data / "making")


def test_it_does_not_go_on_when_its_server_was_killed(tmp_path: Path, talker: Talker):
    need_processes()
    house = Installation(tmp_path, pool("vendor", talker.url, "echo"))
    server = house.start()
    Visitor(server).sign_in(server.key).post(AT, {"kind": "simulation", "hours": 500})
    (begun,) = eventually(lambda: [pid for pid in children(server.process.pid) if " simulate " in command(pid)])
    server.kill()
    assert eventually(lambda: not lives(begun)), "it goes on, and nobody looks"
    with house.serving() as server:
        assert Visitor(server).sign_in(server.key).get(AT)["making"]["failure"] == "Its server was killed."
