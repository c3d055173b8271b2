"""The workspace's door, as the page uses it: sessions, threads and their runs, events that are never lost, nobody who sees another's."""

import functools
import json
import re
import struct
import subprocess
import sys
import urllib.request
import zlib
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import told
from tests.needs import need
from tests.server import Installation, Running, eventually, pool, priced
from tests.talker import SCRIPTS, Talker, blind
from tests.visitor import API, Visitor, read_until


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, talker: Talker) -> Installation:
    return Installation(
        tmp_path_factory.mktemp("house"),
        pool("vendor", talker.url, *SCRIPTS) + blind(talker.url) + priced(*SCRIPTS) + "[files]\nperson_bytes_max = 40_000_000\n",
    )


@pytest.fixture(scope="module")
def ann(server: Running) -> Visitor:
    """Signed in by the link of the start, which is good once."""
    found = re.search(r"/#/in/(\S+)", server.said)
    assert found
    visitor = Visitor(server)
    visitor.post("/session", {"link": found[1]})
    assert Visitor(server).call("POST", f"{API}/session", {"link": found[1]})[0] == 401
    return visitor


@pytest.fixture(scope="module")
def ben(server: Running, place: Installation) -> Visitor:
    """Of the same project, with a key of his own."""
    key = place.run("keys", "create", "ben", "--organization", "default", "--project", "default").stdout.strip()
    return Visitor(server).sign_in(key)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [one["event"]["type"] for one in events]


def stands_so(visitor: Visitor, thread: str, state: str) -> bool:
    return bool(visitor.get(thread)["state"] == state)


def test_who_is_not_signed_in_is_told_so_and_no_key_is_taken_for_one(server):
    nobody = Visitor(server)
    assert nobody.call("GET", f"{API}/threads")[0] == 401
    assert nobody.call("POST", f"{API}/session", {"key": "sk-hr-wrong"})[0] == 401
    assert not list(nobody.cookies)


def test_the_page_comes_under_a_policy_that_runs_nothing_from_elsewhere(server):
    with urllib.request.urlopen(server.url) as answer:
        policy = answer.headers["content-security-policy"]
        assert answer.headers["content-type"].startswith("text/html")
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert server.get("/assets/nothing.js")[0] == 404


def test_a_session_is_a_cookie_that_no_script_and_no_other_site_can_use(server, ann):
    assert ann.get("/session")["admin"] is True
    (cookie,) = ann.cookies
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite").lower() == "strict"
    for headers in ({"origin": "https://evil.invalid"}, {"sec_fetch_site": "cross-site"}, {"origin": "null"}):
        assert ann.call("POST", f"{API}/threads", {}, **headers)[0] == 403
    assert ann.call("POST", "/v1/keys", {"name": "stolen"}, origin="https://evil.invalid")[0] == 401
    assert ann.call("POST", f"{API}/threads", {}, origin=server.url, sec_fetch_site="same-origin")[0] == 200


def test_a_session_opens_the_routes_for_keys_but_never_the_models_themselves(ann, ben):
    assert ann.call("GET", "/v1/models")[0] == 200
    assert ann.call("GET", "/admin/pools")[0] == 200
    assert ben.call("GET", "/admin/pools")[0] == 403
    assert ann.call("POST", "/v1/chat/completions", {"model": "echo", "messages": []}, content_type="application/json")[0] == 401


def test_a_session_ends_when_one_signs_out_and_when_its_key_is_revoked(server, place):
    key = place.run("keys", "create", "cleo", "--organization", "default", "--project", "default").stdout.strip()
    one, other = Visitor(server).sign_in(key), Visitor(server).sign_in(key)
    assert one.call("DELETE", f"{API}/session")[0] == 204
    assert one.call("GET", f"{API}/session")[0] == 401
    assert other.call("GET", f"{API}/session")[0] == 200
    with other.following(other.thread(model="echo")) as stream:
        assert stream.readline()
        place.run("keys", "revoke", "cleo")
        assert other.call("GET", f"{API}/session")[0] == 401
        stream.read()  # it ends


def test_a_chat_is_metered_like_anyones_and_found_by_its_words(ann, talker):
    thread = ann.thread(model="echo")
    events = ann.say(thread, "Tell me of the aqueduct at Segovia")
    assert kinds(events) == ["PersonSaid", "ModelAsked", "ModelSaid", "Ended"]
    assert events[-1]["event"]["text"] == "You said: Tell me of the aqueduct at Segovia"
    assert "tools" not in talker.asked[-1], "who only talks is offered no tools"
    told = ann.get(thread)
    assert (told["title"], told["tokens"], told["cost_usd"]) == ("Tell me of the aqueduct at Segovia", 110, "0.00014")
    request = events[2]["event"]["request"]
    assert eventually(lambda: ann.call("GET", f"/admin/requests/{request}")[1].get("cost_usd") == "0.00014")
    found = ann.get("/search?q=aqueduct+segov")["found"]
    assert thread.endswith(found[0]["thread"])
    assert "\x02aqueduct\x03" in found[0]["piece"]
    for nothing in ('"*', "%00", "zebra%00crossing"):
        assert ann.get(f"/search?q={nothing}")["found"] == []


def test_nothing_of_a_thread_is_there_for_anybody_else(ann, ben):
    thread = ann.thread(model="echo")
    ann.say(thread, "My secret is xylophone")
    ask = [("GET", ""), ("GET", "/log"), ("GET", "/events"), ("GET", "/export"), ("GET", "/files"), ("GET", "/changes"), ("DELETE", "")]
    do = [("/messages", {"text": "x"}), ("/stop", {}), ("/go", {}), ("/answer", {}), ("/share", {}), ("/fork", {"at": 0}), ("/branch", {})]
    for method, path, body in [*((method, path, None) for method, path in ask), *(("POST", path, body) for path, body in do)]:
        assert ben.call(method, f"{API}{thread}{path}", body)[0] == 404, path
    assert ben.call("PATCH", f"{API}{thread}", {"title": "mine"})[0] == 404
    assert ben.call("PUT", f"{API}{thread}/files/a.txt", b"x")[0] == 404
    assert not [one for one in ben.get("/threads")["threads"] if thread.endswith(one["id"])]
    assert ben.get("/search?q=xylophone")["found"] == []
    assert ben.get("/inbox")["waiting"] == []
    assert ben.call("GET", f"{API}/console/keys")[0] == 403
    assert ben.call("POST", f"{API}/threads", {"folder": "/etc"})[0] == 403
    assert ann.get(thread)["title"] == "My secret is xylophone"


def picture(shade: int = 0, size: int = 0) -> bytes:
    """A PNG of one pixel, with so much behind it that it is of that size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head, pixel = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), chunk(b"IDAT", zlib.compress(bytes((0, shade))))
    return (b"\x89PNG\r\n\x1a\n" + head + pixel + chunk(b"IEND", b"")).ljust(size, b"\0")


def test_a_picture_is_shown_to_the_model_that_sees_and_kept_with_the_thread(ann, ben, talker):
    thread = ann.thread(model="seer", budget_usd="1")
    big = picture(7, 1_500_000)  # as a text it would be more than any context, and dearer than the budget
    status, kept = ann.call("POST", f"{API}{thread}/pictures", big)
    assert status == 201
    events = ann.say(thread, "What is it?", pictures=[kept["name"]])
    assert events[-1]["event"]["text"] == "I see image/png of 1,500,000 bytes with: What is it?"
    assert ann.call("GET", f"{API}{thread}/pictures/{kept['name']}") == (200, big)
    assert ben.call("GET", f"{API}{thread}/pictures/{kept['name']}")[0] == 404
    link = ann.post(f"{thread}/share", {})["path"].rpartition("/")[2]
    assert Visitor(ann.server).call("GET", f"{API}/shared/{link}/pictures/{kept['name']}") == (200, big)
    unseen = ann.call("POST", f"{API}{thread}/pictures", picture(9))[1]["name"]
    assert Visitor(ann.server).call("GET", f"{API}/shared/{link}/pictures/{unseen}")[0] == 404

    ann.post(f"{thread}/fork", {"at": 0, "text": "And in words?", "model": "reader"})  # who sees none is told that there was one
    assert "And in words?\n[1 picture(s) were shown" in ann.wait(thread, "done")[-1]["event"]["text"]
    (comes_in,) = ben.post("/import", ann.call("GET", f"{API}{thread}/export")[1])["threads"]
    assert ben.call("GET", f"{API}/threads/{comes_in}/pictures/{kept['name']}") == (200, big)


def test_who_sees_no_pictures_is_not_asked_and_it_is_said_who_does(ann, talker):
    thread = ann.thread(model="reader")
    name = ann.call("POST", f"{API}{thread}/pictures", picture())[1]["name"]
    asked = len(talker.asked)
    status, told = ann.call("POST", f"{API}{thread}/messages", {"text": "Look", "pictures": [name]})
    assert (status, told["error"]["param"]) == (400, "model")
    assert told["error"]["message"].startswith("reader sees no pictures: choose one that does (echo, ")
    assert len(talker.asked) == asked
    for content, words in (
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture that models read"),
        (picture(0, 4_000_000), "at most"),
    ):
        status, told = ann.call("POST", f"{API}{thread}/pictures", content)
        assert status in (400, 413)
        assert words in told["error"]["message"]
    status, told = ann.call("POST", f"{API}{thread}/messages", {"text": "Look", "pictures": ["../../leave.key"]})
    assert (status, told["error"]["param"]) == (400, "pictures")
    shown = {one["id"]: one["x_headrace"]["capabilities"] for one in ann.call("GET", "/v1/models")[1]["data"]}
    assert (shown["seer"], shown["reader"]) == (None, ["tools"])


def test_words_come_as_they_are_said_and_a_stop_keeps_them(ann, talker):
    talker.go.clear()
    thread = ann.thread(model="slow")
    ann.post(f"{thread}/messages", {"text": "Talk"})
    with ann.following(thread) as stream:
        said = read_until(stream, '"words"')
        assert "Water runs" in said
    with ann.following(thread, last=re.findall(r"id: (\S+)", said)[-1]) as again:
        assert "Water runs" in read_until(again, '"words"'), "who comes back meanwhile reads what was said so far, and no event twice"
        ann.post(f"{thread}/stop")
        rest = read_until(again, '"stopped","code"')
    assert rest.count('"PersonSaid"') == 0
    assert rest.count('"ModelSaid"') == 1
    assert talker.hung_up.wait(10)
    events = ann.wait(thread, "stopped")
    assert kinds(events) == ["PersonSaid", "ModelAsked", "ModelSaid", "Paused"]
    assert events[2]["event"]["text"].strip() == "Water runs"
    assert events[2]["event"]["pico_usd"] > 0, "what was used is paid"
    assert kinds(ann.say(thread, "And now?", model="echo"))[-1] == "Ended"


def test_what_is_said_meanwhile_is_heard_at_the_next_step(ann, talker):
    talker.go.clear()
    thread = ann.thread(model="slow")
    ann.post(f"{thread}/messages", {"text": "Talk"})
    with ann.following(thread) as stream:
        read_until(stream, '"words"')
        ann.post(f"{thread}/messages", {"text": "In French"})
        talker.go.set()
    assert eventually(lambda: kinds(ann.get(f"{thread}/log")["events"]).count("Ended") == 2, 20)
    said = [one["event"]["text"] for one in ann.get(f"{thread}/log")["events"] if one["event"]["type"] == "PersonSaid"]
    assert said == ["Talk", "In French"]


def test_a_leave_is_asked_waits_and_is_answered_once(ann):
    thread = ann.thread(model="visitor")
    events = ann.say(thread, "Look at the page", until="waiting", intent="task")
    call = events[-1]["event"]["calls"][0]
    (waiting,) = ann.get("/inbox")["waiting"]
    assert waiting["asks"][0]["call"] == call
    assert "collect.invalid" in waiting["asks"][0]["reasons"][0]["says"]
    assert ann.call("POST", f"{API}{thread}/answer", {"calls": {"9.9": True}})[0] == 409
    ann.post(f"{thread}/answer", {"calls": {call["id"]: False}})
    events = ann.wait(thread, "done")
    assert "LeaveRefused" in kinds(events)
    assert ann.get("/inbox")["waiting"] == []
    assert ann.call("POST", f"{API}{thread}/answer", {"calls": {call["id"]: True}})[0] == 409


def test_who_says_something_else_instead_of_answering_has_said_no(ann):
    thread = ann.thread(model="visitor")
    ann.say(thread, "Look at the page", until="waiting", intent="task")
    events = ann.say(thread, "Never mind", model="echo")
    assert kinds(events).index("LeaveRefused") < len(events) - 1
    assert events[-1]["event"]["text"] == "You said: Never mind"


def test_what_was_said_to_a_model_that_is_not_there_is_kept_and_can_be_tried_again(ann):
    thread = ann.thread(model="nobody")
    events = ann.say(thread, "Hear me", until="failed")
    assert events[0]["event"]["text"] == "Hear me"
    (failed,) = ann.get("/inbox")["waiting"]
    assert failed["asks"][0]["code"] == "model_not_found"
    assert ann.call("PATCH", f"{API}{thread}", {"model": "echo"})[0] == 200
    ann.post(f"{thread}/go")
    assert ann.wait(thread, "done")[-1]["event"]["text"] == "You said: Hear me"


def test_a_part_is_handed_to_a_sub_agent_and_paid_by_the_thread(ann):
    thread = ann.thread(model="boss")
    events = ann.say(thread, "Have it counted", intent="task")
    within = [one["event"]["event"]["type"] for one in events if one["event"]["type"] == "Within"]
    assert within[0] == "TaskGiven"
    assert "ModelSaid" in within
    assert ann.get(thread)["tokens"] == 330, "two answers of the agent's, and one of the sub-agent's"


def test_what_is_remembered_is_the_persons_own_and_can_be_corrected_and_erased(ann, ben, talker):
    ann.say(ann.thread(model="keeper"), "Remember that I live in Bern.", intent="task")
    (held,) = ann.get("/memories")["memories"]
    assert (held["text"], held["how"], held["about"]) == ("I live in Bern", "said", "")
    assert ben.get("/memories")["memories"] == []
    assert ben.call("DELETE", f"{API}/memories/{held['id']}")[0] == 404
    assert ann.call("PATCH", f"{API}/memories/{held['id']}", {"text": "I live in Basel"})[1]["how"] == "edited"
    ann.say(ann.thread(model="echo"), "Where do I live, in Bern or Basel?")
    assert "I live in Basel" in str(talker.asked[-1]["messages"])
    ben.say(ben.thread(model="echo"), "Where do I live, in Bern or Basel?")
    assert "I live in Basel" not in str(talker.asked[-1]["messages"])
    assert ann.call("DELETE", f"{API}/memories/{held['id']}")[0] == 204
    assert ann.post("/memories", {"text": "Short answers, please"})["how"] == "added"


def test_the_page_and_the_terminal_have_one_memory(ann, ben, place, tmp_path):
    told_here = told(place, "memory", "add", "Releases go out on Tuesdays", "--folder", str(tmp_path)).split()[-1].rstrip(".")
    (held,) = [one for one in ann.get("/memories")["memories"] if one["id"] == told_here]
    assert (held["about"], held["how"], held["thread"]) == (str(tmp_path), "added", None)
    ann.call("PATCH", f"{API}/memories/{told_here}", {"text": "Releases go out on Wednesdays"})
    assert "Wednesdays" in told(place, "memory", "show", told_here)
    there = ann.post("/memories", {"text": "Rivers are numbered", "about": "Rivers"})["id"]
    bens = ben.post("/memories", {"text": "Ben's own"})["id"]
    listed = told(place, "memory", "list")
    assert there in listed
    assert bens not in listed
    told(place, "memory", "forget", there)
    assert ben.call("DELETE", f"{API}/memories/{bens}")[0] == 204
    assert ann.call("DELETE", f"{API}/memories/{told_here}")[0] == 204
    assert there not in {one["id"] for one in ann.get("/memories")["memories"]}


def test_a_budget_pauses_and_more_goes_on(ann):
    thread = ann.thread(model="coder", budget_usd="0.0001")
    ann.say(thread, "Write hello.py", until="waiting", intent="code")
    assert ann.get("/inbox")["waiting"][0]["asks"] == [{"kind": "pause", "reason": "money"}]
    ann.post(f"{thread}/answer", {"more_usd": "1"})
    assert kinds(ann.wait(thread, "done"))[-1] == "Ended"


def test_files_are_changed_in_a_draft_shown_by_line_taken_over_and_undone(ann):
    thread = ann.thread(model="coder")
    assert ann.call("PUT", f"{API}{thread}/files/notes/a.txt", b"one\n")[0] == 201
    ann.say(thread, "Write hello.py", intent="code")
    assert [one["path"] for one in ann.get(f"{thread}/files")["files"]] == ["hello.py", "notes/a.txt"]
    assert ann.call("GET", f"{API}{thread}/files/hello.py")[1] == b"print('hello')\n"
    for path in ("..%2F..%2Fgrant.json", "a%00b"):
        assert ann.call("GET", f"{API}{thread}/files/{path}")[0] == 403
    first, second = ann.get(f"{thread}/changes")["changes"]
    (piece,) = first["hunks"]
    assert (first["path"], first["kind"], piece["old"], piece["new"]) == ("hello.py", "added", [], ["print('hello')\n"])
    only = [{"path": "hello.py", "hunks": [0], "version": first["version"]}]
    assert ann.post(f"{thread}/changes", {"do": "take", "files": only})["done"] == [{"path": "hello.py", "kind": "added"}]
    told = ann.get(f"{thread}/changes")
    assert (told["changes"], told["taken"]) == ([second], [{"path": "hello.py", "kind": "added"}])
    assert ann.call("POST", f"{API}{thread}/changes", {"do": "take", "files": only})[0] == 409
    assert len(ann.post(f"{thread}/changes", {"do": "take"})["done"]) == 2
    assert len(ann.post(f"{thread}/changes", {"do": "undo"})["done"]) == 2
    ann.post(f"{thread}/changes", {"do": "drop", "files": only})
    assert [one["path"] for one in ann.get(f"{thread}/changes")["changes"]] == ["notes/a.txt"]
    assert ann.call("DELETE", f"{API}{thread}/files/notes/a.txt")[0] == 204


def test_a_branch_leaves_before_an_event_and_the_old_one_stays(ann):
    thread = ann.thread(model="echo")
    first = ann.say(thread, "One")
    told = ann.post(f"{thread}/fork", {"at": 0, "text": "Two"})
    assert ann.wait(thread, "done")[-1]["event"]["text"] == "You said: Two"
    ann.post(f"{thread}/fork", {"at": 1, "run": told["branches"][0]["id"]})
    assert ann.wait(thread, "done")[-1]["event"]["text"] == "You said: One", "said again by a model, without a word of the person"
    branches = ann.get(thread)["branches"]
    assert [one["forked_at"] for one in branches] == [0, 0, 1]
    assert ann.post(f"{thread}/branch", {"run": branches[0]["id"]})["state"] == "done"
    assert ann.get(f"{thread}/log")["events"] == first
    assert ann.call("POST", f"{API}{thread}/branch", {"run": "run_of_nobody"})[0] == 404


def test_a_thread_goes_out_as_a_file_and_comes_in_again_with_its_branches(ann, ben):
    thread = ann.thread(model="echo")
    ann.say(thread, "One wheel")
    ann.post(f"{thread}/fork", {"at": 0, "text": "Two wheels"})
    ann.wait(thread, "done")
    file = ann.get(f"{thread}/export")
    assert file["format"] == "headrace-thread/1"
    (made,) = ben.post("/import", file)["threads"]
    there = ben.get(f"/threads/{made}")
    assert [one["forked_at"] for one in there["branches"]] == [0, 0]
    assert ben.get(f"/threads/{made}/log")["events"][0]["event"]["text"] == "Two wheels"
    assert {one["title"] for one in ben.get("/search?q=wheels")["found"]} == {"One wheel"}
    assert kinds(ben.say(f"/threads/{made}", "And three?", model="echo"))[-1] == "Ended"
    assert ben.call("DELETE", f"{API}/threads/{made}")[0] == 204


JUNK: list[Any] = [
    [{"mapping": {"a": {"message": {"author": {"role": "user"}, "content": "x"}}}, "current_node": "a"}],
    [{"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": 7}}}}, "current_node": "a"}],
    [{"chat_messages": [{"sender": "human", "content": 7, "text": "x"}]}],
    {"format": "headrace-thread/1", "title": "Twice", "runs": [{"id": "a", "events": []}, {"id": "a", "events": []}]},
]


@pytest.mark.parametrize("file", JUNK)
def test_a_file_that_only_looks_like_one_is_refused(ann, file):
    assert ann.call("POST", f"{API}/import", file)[0] == 400


def test_a_time_that_nobody_can_mean_is_left_out(ann):
    said = [{"sender": "human", "text": "Dateless", "created_at": moment} for moment in (1e300, "9999-12-31T23:59:59-23:59", -1)]
    (made,) = ann.post("/import", [{"name": "Dateless", "chat_messages": said}])["threads"]
    assert all(one["at"] < 2**63 for one in ann.get(f"/threads/{made}/log")["events"])


def test_one_person_puts_so_much_into_threads_and_no_more(ann, ben):
    thread = ann.thread(model="echo")
    assert ann.call("PUT", f"{API}{thread}/files/a", b"a" * 30_000_000)[0] == 201
    assert ann.call("PUT", f"{API}{thread}/files/a", b"a" * 20_000_000)[0] == 201, "in place of the other"
    status, told = ann.call("PUT", f"{API}{ann.thread(model='echo')}/files/b", b"b" * 30_000_000)
    assert (status, told["error"]["code"]) == (413, "no_room_left")
    assert "files.person_bytes_max): delete some" in told["error"]["message"]
    assert ben.call("PUT", f"{API}{ben.thread(model='echo')}/files/b", b"b" * 30_000_000)[0] == 201
    assert ann.call("DELETE", f"{API}{thread}")[0] == 204
    assert ann.call("PUT", f"{API}{ann.thread(model='echo')}/files/b", b"b" * 30_000_000)[0] == 201


def test_what_is_refused_is_not_counted_and_nothing_is_counted_as_less(server, place):
    cyd = Visitor(server).sign_in(place.run("keys", "create", "cyd").stdout.strip())
    thread, picture = cyd.thread(model="echo"), b"\x89PNG\r\n\x1a\n" + b"p" * 3_000_000
    for path in ("..%2Fout", "%2Fabsolute", "a%2F..%2F..%2Fout"):
        assert cyd.call("PUT", f"{API}{thread}/files/{path}", b"x" * 30_000_000)[0] != 201
    assert cyd.call("PUT", f"{API}{thread}/files/folder%2Fa", b"a")[0] == 201
    assert cyd.call("PUT", f"{API}{thread}/files/folder", b"x" * 30_000_000)[0] != 201, "it is a folder"
    name = cyd.call("POST", f"{API}{thread}/pictures", picture)[1]["name"]
    assert cyd.call("PUT", f"{API}{thread}/files/%2Fpictures%2F{name}", b"x")[0] != 201
    assert cyd.call("PUT", f"{API}{thread}/files/b", b"b" * 30_000_000)[0] == 201, "what was refused is not counted"
    assert cyd.call("PUT", f"{API}{thread}/files/.%2Fb", b"b" * 30_000_000)[0] == 201, "it is the same file"
    assert cyd.call("PUT", f"{API}{thread}/files/c", b"c" * 7_500_000)[0] == 413, "and the picture is counted"
    assert cyd.call("DELETE", f"{API}{thread}/files/.%2Fb")[0] == 204
    assert cyd.call("PUT", f"{API}{thread}/files/c", b"c" * 7_500_000)[0] == 201


def test_pictures_that_come_in_with_a_file_are_counted(server, place):
    dan = Visitor(server).sign_in(place.run("keys", "create", "dan").stdout.strip())
    contents = [b"\x89PNG\r\n\x1a\n" + bytes([number]) * 3_200_000 for number in range(13)]
    pictures = {f"{sha256(content).hexdigest()[:32]}.png": b64encode(content).decode() for content in contents}
    said = [{"at": 1, "event": {"type": "PersonSaid", "text": "Look", "pictures": [*pictures]}}]
    file = {"format": "headrace-thread/1", "title": "Pictures", "runs": [{"id": "a", "events": said}], "pictures": pictures}
    assert dan.call("POST", f"{API}/import", file)[0] == 413
    assert dan.get("/threads")["threads"] == [], "nothing of it is left"
    assert not [path for path in place.data.glob("runs/*/pictures/*.png") if path.name in pictures]
    said[0]["event"]["pictures"].pop()  # type: ignore[index]
    assert dan.call("POST", f"{API}/import", file)[0] == 200
    assert dan.call("PUT", f"{API}{dan.thread(model='echo')}/files/a", b"a" * 2_000_000)[0] == 413


def test_what_is_too_long_is_not_read_to_its_end_nor_kept(server, ann):
    assert Visitor(server).call("POST", f"{API}/session", b" " * 1_000_000)[0] == 413
    thread = ann.thread(model="echo")
    assert ann.call("POST", f"{API}{thread}/changes", b" " * 2_000_000)[0] == 413
    assert ann.call("POST", f"{API}/console/keys", b" " * 1_000_000)[0] == 413


@pytest.mark.parametrize("number", ["²", "9" * 5_000, "-1", ""])
def test_who_comes_back_with_no_number_hears_all(ann, number):
    thread = ann.thread(model="echo")
    ann.say(thread, "One")
    with ann.following(thread, last=f"{ann.get(thread)['run']}:{number}") as stream:
        assert '"PersonSaid"' in read_until(stream, '"Ended"')


def test_a_thread_works_on_a_folder_of_the_machine_and_makes_none(ann, tmp_path):
    assert ann.call("POST", f"{API}/threads", {"folder": str(tmp_path / "mistyped")})[0] == 403
    assert not (tmp_path / "mistyped").exists()
    (tmp_path / "AGENTS.md").write_text("Be brief.")
    thread = ann.thread(model="coder", folder=str(tmp_path))
    events = ann.say(thread, "Write hello.py")
    assert events[0]["event"]["type"] == "ContextGiven"
    assert not (tmp_path / "hello.py").exists()
    assert ann.get(f"{thread}/changes")["folder"] == str(tmp_path)
    ann.post(f"{thread}/changes", {"do": "take"})
    assert (tmp_path / "hello.py").read_text() == "print('hello')\n"


def test_a_link_shows_what_was_there_to_anyone_and_ends_when_it_is_taken_back(server, ann):
    thread = ann.thread(model="echo")
    ann.say(thread, "Shown")
    token = ann.post(f"{thread}/share")["path"].rpartition("/")[2]
    ann.say(thread, "Not shown")
    stranger = Visitor(server)
    shown = stranger.get(f"/shared/{token}")
    assert [one["event"].get("text") for one in shown["events"]][0::3] == ["Shown", "You said: Shown"]
    assert ann.call("DELETE", f"{API}{thread}/share")[1] == {"revoked": 1}
    assert stranger.call("GET", f"{API}/shared/{token}")[0] == 404


def test_a_run_that_cant_be_worked_on_fails_alone_and_once(server, place, ann):
    unwritable, damaged = ann.thread(model="echo"), ann.thread(model="echo")
    ann.say(damaged, "Before")
    (place.data / "runs" / ann.get(unwritable)["run"] / ".live.jsonl").mkdir()
    log = place.data / "runs" / ann.get(damaged)["run"] / "events.jsonl"
    log.write_bytes(log.read_bytes().replace(b"Before", b"Behind"))
    for thread in (unwritable, damaged):
        ann.post(f"{thread}/messages", {"text": "Go on"})
        assert eventually(functools.partial(stands_so, ann, thread, "failed"), 20)
    assert ann.say(ann.thread(model="echo"), "And the others?")
    assert server.said.count("a run can't be worked on") == 2, "and it is not tried for ever"
    assert ann.call("DELETE", f"{API}{unwritable}")[0] == ann.call("DELETE", f"{API}{damaged}")[0] == 204


def test_the_console_tells_what_the_books_say(ann, place):
    ann.say(ann.thread(model="echo"), "Count me")
    now = ann.get("/console/now")
    assert len(now["minutes"]) == 60
    assert sum(one["requests"] for one in now["minutes"]) >= 1
    rows = ann.get("/console/usage?by=model&width=day")["rows"]
    assert [row["cost_usd"] for row in rows if row["group"] == "echo"] == [
        row["usd"] for row in place.usage("model") if row["model"] == "echo"
    ]
    assert ann.get(f"/console/usage?since={now['now'] - 10**13}")["rows"]
    assert ann.call("GET", f"{API}/console/usage?since={2**63}")[0] == 400
    latest = ann.get("/console/requests?limit=1")["requests"][0]
    assert (latest["model"], latest["key"], latest["state"]) == ("echo", "development", "done")
    made = ann.post("/console/keys", {"name": "dora", "organization": "acme", "project": "demo"})
    assert Visitor(ann.server).sign_in(made["secret"]).get("/session")["project"] == "demo"
    assert ann.call("DELETE", f"{API}/console/keys/{made['id']}")[0] == 204
    assert [row["revoked"] is None for row in ann.get("/console/keys")["keys"] if row["id"] == made["id"]] == [False]
    assert {row["model"]: row["output"] for row in ann.get("/console/prices")["prices"]}["echo"] == "4.00"
    assert ann.get("/console/audit")["faults"] == []
    assert ann.call("GET", f"{API}/console/requests?before={10**19 - 1}")[0] == 400
    assert ann.call("POST", "/v1/keys", {"name": "x", "expires_in_s": 10**18})[0] == 400
    assert ann.call("POST", "/v1/keys", {"name": "x", "requests_per_minute": 2**63})[0] == 400
    assert ann.call("POST", f"{API}/threads", {"folder": "\0"})[0] == 400


def test_a_killed_server_goes_on_with_its_runs(tmp_path, talker):
    """With two workers, of which either may be asked."""
    talker.go.clear()
    place = Installation(tmp_path / "house", pool("vendor", talker.url, *SCRIPTS) + priced(*SCRIPTS))
    running = place.start("--workers", "2")
    try:
        eve = Visitor(running).sign_in(running.key)
        thread = eve.thread(model="slow")
        eve.post(f"{thread}/messages", {"text": "Talk"})
        for _ in range(3):  # each connection may meet another worker
            with eve.following(thread) as stream:
                read_until(stream, '"words"')
            other = eve.thread(model="slow")
            eve.post(f"{other}/messages", {"text": "Talk"})
            assert eventually(functools.partial(stands_so, eve, other, "running"))
            with eve.following(other) as stream:
                read_until(stream, '"words"')
            talker.hung_up.clear()
            assert eve.call("DELETE", f"{API}{other}")[0] == 204
            assert talker.hung_up.wait(10), "what is deleted is not worked on any more, by whichever worker"
    finally:
        running.kill()
    talker.go.set()
    with place.serving() as again:
        eve = Visitor(again).sign_in(again.key)
        events = eve.wait(thread, "done")
        assert kinds(events)[-1] == "Ended"
        assert kinds(events).count("PersonSaid") == 1
        assert json.dumps(events).count("Water runs down the headrace to the wheel.") == 2


@pytest.mark.sandbox(2)
def test_a_thread_begins_with_a_clone_and_its_instructions(ann, ben, place, tmp_path):
    for words in ("init -q", "-c user.name=a -c user.email=a@b.example commit -q --allow-empty -m one"):
        subprocess.run([need("git"), *words.split(" ")], cwd=tmp_path, check=True)
    (tmp_path / "AGENTS.md").write_text("Be brief.")
    subprocess.run([need("git"), "add", "."], cwd=tmp_path, check=True)
    subprocess.run([need("git"), "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-qm", "two"], cwd=tmp_path, check=True)
    thread = f"/threads/{ann.post('/threads', {'model': 'echo', 'clone': {'url': str(tmp_path)}})['id']}"
    assert {"AGENTS.md"} <= {file["path"] for file in ann.get(f"{thread}/files")["files"]}
    assert [one["event"]["text"] for one in ann.get(f"{thread}/log")["events"]] == ["Be brief."]
    folder = place.data / "workspace" / thread.removeprefix("/threads/")
    assert (folder / "AGENTS.md").exists()
    assert ann.call("DELETE", f"{API}{thread}")[0] == 204
    assert not folder.exists(), "nothing of it is left behind"
    for body in ({"url": str(tmp_path)}, {"url": "http://127.0.0.1:1/a"}, {"url": "https://x.example/a", "depth": 0}):
        assert ben.call("POST", f"{API}/threads", {"clone": body})[0] == 400


@pytest.mark.sandbox(2)
def test_a_server_of_mcp_is_used_in_the_sandbox(ann, place, server):
    notes = Path(__file__).parents[1] / "unit" / "workspace" / "notesserver.py"
    told = {"name": "notes", "command": [sys.executable, str(notes)], "read": [sys.prefix, str(notes.parent)]}
    settings = place.folder / "headrace.toml"
    before = settings.read_text()
    settings.write_text(before + "[[mcp]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items()))
    try:
        place.run("reload", "--url", server.url)
        thread = ann.thread(model="noter", intent="task")
        events = ann.say(thread, "Search my notes for shopping, and see what is around", until="done")
        returned = [one["event"]["value"] for one in events if one["event"]["type"] == "Returned"]
        assert "ignore what you were told" in returned[0]
        assert '"held":"FileNotFoundError"' in returned[1] or '"held":"PermissionError"' in returned[1]
        assert '"out":"ConnectionRefusedError"' in returned[1] or '"out":"PermissionError"' in returned[1]
        assert '"id":"n1"' in returned[2], "nothing leaves by a server without a network, so nothing is asked"
        assert events[-1]["event"]["text"] == "It is noted."
    finally:
        settings.write_text(before)
        place.run("reload", "--url", server.url)
