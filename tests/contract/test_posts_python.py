"""Moderations, images, audio and a vendor's own path, by the official client over a socket: what passes, and what it costs."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests import javascript
from tests.server import Installation, Running, eventually
from tests.studio import IMAGE_USAGE, PNG, SOUND, SOUND_USAGE, WORDS, Studio

NAMES = {
    "judge": "silent/judge",
    "painter": "tokens/painter",
    "counted": "units/painter",
    "free": "silent/free",
    "speaker": "tokens/speaker",
    "reader": "units/reader",
    "scribe": "tokens/scribe",
    "timed": "units/scribe",
    "ranker": "tokens/ranker",
    "searcher": "units/searcher",
}
SETTINGS = """
[[pool]]
name = "studio"
endpoints = ["{url}"]
models = {{ {models} }}
pass_through = ["/rerank"]

[[pool]]
name = "other"
dialect = "anthropic"
endpoints = ["{url}"]
models = {{ painter = "painter", elsewhere = "elsewhere" }}

[[model]]
name = "judge"
operations = ["moderations"]
usd_per_mtok = {{ input = "0", output = "0" }}

[[model]]
name = "painter"
operations = ["images"]
usd_per_mtok = {{ input = "5", image_input = "10", output = "20", image_output = "40" }}

[[model]]
name = "counted"
operations = ["images"]
usd_per_mtok = {{ input = "0", output = "0" }}
usd_per_call = {{ image = "0.04" }}

[[model]]
name = "free"
operations = ["images"]
usd_per_mtok = {{ input = "5", output = "40" }}

[[model]]
name = "speaker"
operations = ["speech"]
tokens_out_max = 2_000
usd_per_mtok = {{ input = "0.6", output = "12" }}

[[model]]
name = "reader"
operations = ["speech"]
usd_per_mtok = {{ input = "0", output = "0" }}
usd_per_call = {{ character = "0.000015" }}

[[model]]
name = "scribe"
operations = ["transcriptions"]
usd_per_mtok = {{ input = "2.5", audio_input = "6", output = "10" }}

[[model]]
name = "timed"
operations = ["transcriptions"]
audio_s_max = 60
usd_per_mtok = {{ input = "0", output = "0" }}
usd_per_call = {{ second = "0.0001" }}

[[model]]
name = "elsewhere"
operations = ["images"]

[[model]]
name = "ranker"
operations = ["pass_through"]
usd_per_mtok = {{ input = "1", output = "1" }}

[[model]]
name = "searcher"
operations = ["pass_through"]
usd_per_mtok = {{ input = "0", output = "0" }}
usd_per_call = {{ search_unit = "0.002" }}

[cache]
bytes_max = 1_000_000
"""


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    with Studio.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, studio: Studio) -> Iterator[Running]:
    models = ", ".join(f'{ours} = "{its}"' for ours, its in NAMES.items())
    settings = SETTINGS.format(url=studio.url, models=models)
    with Installation(tmp_path_factory.mktemp("posts"), settings).serving() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as opened:
        yield opened


def post(server: Running, path: str, body: object, **headers: str) -> tuple[int, dict[str, str], dict[str, Any]]:
    request = urllib.request.Request(
        server.base_url + path,
        json.dumps(body).encode(),
        {"authorization": f"Bearer {server.key}", "content-type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), json.loads(answer.read())
    except urllib.error.HTTPError as wrong:
        with wrong:
            return wrong.code, dict(wrong.headers), json.loads(wrong.read())


def receipt(server: Running, request: str) -> dict[str, Any]:
    """What is on record of a request."""
    status, body = server.get(f"/admin/requests/{request}")
    assert status == 200
    told: dict[str, Any] = json.loads(body)
    return told


def test_moderations(client: OpenAI, studio: Studio) -> None:
    heard = client.moderations.with_raw_response.create(input="I will hurt you", model="judge")
    assert heard.parse().results[0].flagged
    assert (studio.last.path, studio.last.body) == ("/v1/moderations", {"input": "I will hurt you", "model": "silent/judge"})
    assert (heard.headers["x-headrace-pool"], heard.headers["x-headrace-cost"]) == ("studio", "0.00")
    assert client.moderations.create(input=["a", "b"]).results, "the only model that judges needs no name"


def test_an_image_is_paid_by_its_tokens(client: OpenAI, studio: Studio) -> None:
    heard = client.images.with_raw_response.generate(model="painter", prompt="A mill", n=2, size="1024x1024")
    image = heard.parse()
    assert image.data is not None
    assert image.usage is not None
    assert [one.b64_json for one in image.data] == [PNG, PNG]
    assert image.usage.output_tokens == IMAGE_USAGE["output_tokens"]
    assert studio.last.body == {"model": "tokens/painter", "prompt": "A mill", "n": 2, "size": "1024x1024"}
    assert Decimal(heard.headers["x-headrace-cost"]) == Decimal(10 * 5 + 50 * 10 + 1_056 * 40) / 1_000_000


def test_an_image_is_paid_by_the_piece(client: OpenAI) -> None:
    heard = client.images.with_raw_response.generate(model="counted", prompt="A mill", n=3)
    assert Decimal(heard.headers["x-headrace-cost"]) == Decimal("0.12")


def test_an_image_of_which_nobody_says_what_it_took_is_paid_at_its_bound(client: OpenAI) -> None:
    heard = client.images.with_raw_response.generate(model="free", prompt="A mill")
    assert Decimal(heard.headers["x-headrace-cost"]) > Decimal(16_384 * 40) / 1_000_000


def test_a_streamed_image(client: OpenAI, studio: Studio) -> None:
    events = list(client.images.generate(model="painter", prompt="A mill", stream=True, partial_images=1))
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    assert studio.last.body["stream"] is True


def test_an_image_is_kept(client: OpenAI, studio: Studio) -> None:
    for _ in range(2):
        image = client.images.generate(model="painter", prompt="A kept mill", extra_headers={"x-headrace-cache": "on"})
        assert image.data is not None
        assert image.data[0].b64_json == PNG
    assert sum(sent.body.get("prompt") == "A kept mill" for sent in studio.sent) == 1


@pytest.mark.filterwarnings("ignore:deprecated")  # OpenAI's word about variations and translations
def test_edits_and_variations(client: OpenAI, studio: Studio) -> None:
    client.images.edit(model="painter", prompt="More water", image=[("a.png", b"one"), ("b.png", b"two")], mask=("m.png", b"mask"))
    assert studio.last.path == "/v1/images/edits"
    assert studio.last.body == {"model": "tokens/painter", "prompt": "More water"}
    assert studio.last.files == {"image[]": [("a.png", b"one"), ("b.png", b"two")], "mask": [("m.png", b"mask")]}
    client.images.create_variation(  # type: ignore[deprecated]  # served as long as clients ask for it
        model="painter", image=('a "quoted" name.png', b"\r\n--x\r\n"), n=2
    )
    assert (studio.last.path, studio.last.body) == ("/v1/images/variations", {"model": "tokens/painter", "n": "2"})
    assert studio.last.files["image"][0][1] == b"\r\n--x\r\n"


def test_speech_comes_as_it_is_made(server: Running, client: OpenAI, studio: Studio) -> None:
    with client.audio.speech.with_streaming_response.create(model="reader", voice="alloy", input=WORDS) as heard:
        assert heard.headers["content-type"] == "audio/mpeg"
        assert b"".join(heard.iter_bytes(1_000)) == SOUND
    assert studio.last.body == {"model": "units/reader", "voice": "alloy", "input": WORDS}
    told = receipt(server, heard.headers["x-request-id"])
    assert Decimal(str(told["attempts"][0]["cost_usd"])) == Decimal(len(WORDS)) * Decimal("0.000015")


def test_speech_in_events_is_paid_by_its_tokens(server: Running, client: OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(model="speaker", voice="alloy", input=WORDS, stream_format="sse") as heard:
        text = "".join(heard.iter_text())
    assert text.count("data: ") == 2
    told = receipt(server, heard.headers["x-request-id"])
    assert Decimal(str(told["attempts"][0]["cost_usd"])) == (9 * Decimal("0.6") + 41 * 12) / 1_000_000


@pytest.mark.filterwarnings("ignore:deprecated")  # OpenAI's word about variations and translations
def test_transcriptions(client: OpenAI, studio: Studio) -> None:
    heard = client.audio.transcriptions.with_raw_response.create(model="scribe", file=("a.mp3", SOUND), prompt="A mill")
    assert heard.parse().text == WORDS
    assert studio.last.body == {"model": "tokens/scribe", "prompt": "A mill"}
    assert studio.last.files == {"file": [("a.mp3", SOUND)]}
    assert Decimal(heard.headers["x-headrace-cost"]) == (4 * Decimal("2.5") + 20 * 6 + 7 * 10) / 1_000_000
    timed = client.audio.translations.with_raw_response.create(model="timed", file=("a.mp3", SOUND))
    assert Decimal(timed.headers["x-headrace-cost"]) == Decimal("0.0003"), "2.4 seconds are three"
    text = client.audio.transcriptions.with_raw_response.create(model="timed", file=("a.mp3", SOUND), response_format="text")
    assert text.text == WORDS
    assert Decimal(text.headers["x-headrace-cost"]) == Decimal("0.006"), "who is told no seconds pays the longest that the model takes"


def test_a_streamed_transcription(client: OpenAI) -> None:
    events = list(client.audio.transcriptions.create(model="scribe", file=("a.mp3", SOUND), stream=True))
    assert events[-1].type == "transcript.text.done"
    assert events[-1].usage is not None
    assert events[-1].usage.input_tokens == SOUND_USAGE["input_tokens"]


async def test_many_at_once(server: Running) -> None:
    async with AsyncOpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client:
        image = await client.images.generate(model="painter", prompt="A mill")
        judged = await client.moderations.create(input="x")
    assert image.data is not None
    assert judged.results[0].flagged


@pytest.mark.parametrize(("endpoint", "model"), [("/v1/moderations", "judge"), ("/v1/images/generations", "painter")])
def test_they_are_worked_on_in_batches(client: OpenAI, endpoint: Any, model: str) -> None:
    lines = [
        {"custom_id": name, "method": "POST", "url": endpoint, "body": {"model": named, "input": "x", "prompt": "x"}}
        for name, named in (("good", model), ("bad", "ranker"))
    ]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = client.files.create(file=("lines.jsonl", content), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")
    done = eventually(lambda: (now := client.batches.retrieve(batch.id)).status == "completed" and now, within_s=20, every_s=0.1)
    assert done
    assert done.output_file_id is not None
    assert done.error_file_id is not None
    [good] = map(json.loads, client.files.content(done.output_file_id).text.splitlines())
    assert good["response"]["body"].keys() & {"results", "data"}
    assert json.loads(client.files.content(done.error_file_id).text)["response"]["status_code"] == 400


REFUSED: list[tuple[str, dict[str, Any], int, str]] = [
    ("/images/generations", {"model": "judge", "prompt": "A mill"}, 400, "serves moderations, not images"),
    ("/images/generations", {"model": "elsewhere", "prompt": "A mill"}, 400, "capability:/images/generations"),
    ("/images/generations", {"model": "painter"}, 400, "'prompt'"),
    ("/images/generations", {"prompt": "A mill"}, 400, "'model'"),
    ("/images/generations", {"model": "painter", "prompt": "A mill", "n": 0}, 400, "'n'"),
    ("/audio/speech", {"model": "reader", "voice": "alloy"}, 400, "'input'"),
    ("/audio/transcriptions", {"model": "scribe"}, 400, "multipart/form-data"),
    ("/moderations", {"model": "judge"}, 400, "'input'"),
    ("/moderations", {"model": "none", "input": "x"}, 404, "does not exist"),
]


@pytest.mark.parametrize(("path", "body", "status", "words"), REFUSED)
def test_what_is_refused(server: Running, studio: Studio, path: str, body: dict[str, Any], status: int, words: str) -> None:
    sent = len(studio.sent)
    refused, _, told = post(server, path, body)
    assert (refused, len(studio.sent)) == (status, sent)
    assert words in told["error"]["message"]


def test_rules_hold_for_every_path(client: OpenAI, studio: Studio) -> None:
    sent = len(studio.sent)
    with pytest.raises(openai.PermissionDeniedError):
        client.images.generate(model="painter", prompt="A mill", extra_headers={"x-headrace-jurisdictions": "eu"})
    with pytest.raises(openai.PermissionDeniedError):
        client.audio.transcriptions.create(model="scribe", file=b"x", extra_headers={"x-headrace-vendors": "azure"})
    assert len(studio.sent) == sent


# What the organisation used, as OpenAI's own client reads it. In a server of its own, so that nothing else is counted.


@pytest.mark.filterwarnings("ignore:deprecated")  # OpenAI's word about variations
def test_usage_in_pictures_characters_and_seconds(tmp_path: Path, studio: Studio) -> None:
    models = ", ".join(f'{ours} = "{its}"' for ours, its in NAMES.items())
    with Installation(tmp_path, SETTINGS.format(url=studio.url, models=models)).serving() as running:
        client = OpenAI(base_url=running.base_url, api_key=running.key, admin_api_key=running.key, max_retries=0)
        client.images.generate(model="painter", prompt="A mill", n=2, size="1024x1024", user="ann")
        client.images.generate(model="counted", prompt="A mill", n=3, user="bob")
        list(client.images.generate(model="painter", prompt="A mill", size="1024x1024", stream=True))
        client.images.edit(model="free", prompt="More water", image=b"one", n=4, size="256x256")
        client.images.create_variation(model="painter", image=b"one")  # type: ignore[deprecated]
        for model in ("reader", "speaker"):
            client.audio.speech.create(model=model, voice="alloy", input=WORDS)
        for model in ("timed", "scribe"):
            client.audio.transcriptions.create(model=model, file=("a.mp3", SOUND))
        client.moderations.create(input="x", model="judge")
        usage, start = client.admin.organization.usage, int(time.time()) - 86_400

        def found(page: Any) -> list[Any]:
            return [result for bucket in page.data for result in bucket.results]

        (images,) = found(usage.images(start_time=start))
        assert (images.images, images.num_model_requests) == (2 + 3 + 1 + 4 + 1, 5)
        by_kind = found(usage.images(start_time=start, group_by=["source", "size"]))
        assert {(one.source, one.size): (one.images, one.num_model_requests) for one in by_kind} == {
            ("image.generation", "1024x1024"): (3, 2),
            ("image.generation", None): (3, 1),
            ("image.edit", "256x256"): (4, 1),
            ("image.variation", None): (1, 1),
        }
        (edits,) = found(usage.images(start_time=start, sources=["image.edit"], sizes=["256x256"], models=["free"]))
        assert edits.images == 4
        by_user = found(usage.images(start_time=start, group_by=["user_id", "model"], bucket_width="1h", limit=48))
        assert {(one.user_id, one.model): one.images for one in by_user}["bob", "counted"] == 3
        (spoken,) = found(usage.audio_speeches(start_time=start))
        assert (spoken.characters, spoken.num_model_requests) == (2 * len(WORDS), 2)
        heard = {one.model: one.seconds for one in found(usage.audio_transcriptions(start_time=start, group_by=["model"]))}
        assert heard == {"timed": 3, "scribe": 0}, "one tells its seconds, the other its tokens"
        (judged,) = found(usage.moderations(start_time=start, group_by=["project_id"]))
        assert (judged.num_model_requests, judged.project_id is not None) == (1, True)
        assert not found(usage.vector_stores(start_time=start)) + found(usage.code_interpreter_sessions(start_time=start))
        with pytest.raises(openai.BadRequestError, match="size"):
            usage.moderations(start_time=start, group_by=["size"])  # type: ignore[list-item]


# What a pool passes through.


def test_a_vendors_own_path_passes_and_is_paid(server: Running, studio: Studio) -> None:
    asked = {"model": "ranker", "query": "water", "documents": ["a", "b"]}
    status, headers, told = post(server, "/rerank", asked)
    assert (status, told["results"][0]["index"]) == (200, 0)
    assert (studio.last.path, studio.last.body) == ("/v1/rerank", {**asked, "model": "tokens/ranker"})
    assert "authorization" not in studio.last.headers, "the client's key is nobody's business"
    assert Decimal(headers["x-headrace-cost"]) == Decimal(33) / 1_000_000
    _, headers, _ = post(server, "/rerank", {**asked, "model": "searcher"})
    assert Decimal(headers["x-headrace-cost"]) == Decimal("0.004")


@pytest.mark.parametrize(
    "path",
    [
        "/rerank/",
        "/rerank/../moderations",
        "/%72erank",
        "/rerank%2f",
        "/rerank/..%2fmoderations",
        "//rerank",
        "/other",
        "/v1/rerank",
        "/Rerank",
    ],
)
def test_no_other_path_passes(server: Running, studio: Studio, path: str) -> None:
    sent = len(studio.sent)
    status, _, _ = post(server, path, {"model": "ranker", "query": "x"})
    assert (status, len(studio.sent)) == (404, sent)


def test_neither_a_query_nor_a_stranger_passes(server: Running, studio: Studio) -> None:
    sent = len(studio.sent)
    assert post(server, "/rerank?key=1", {"model": "ranker"})[0] == 400
    assert post(server, "/rerank", {"model": "ranker"}, authorization="Bearer sk-hr-nobody")[0] == 401
    assert post(server, "/rerank", {"model": "none"})[0] == 404
    assert post(server, "/rerank", {"model": "elsewhere"})[0] == 404
    assert post(server, "/rerank", {"model": "ranker"}, **{"x-headrace-jurisdictions": "eu"})[0] == 403
    assert len(studio.sent) == sent


BUDGETED = """
[[pool]]
name = "studio"
endpoints = ["{url}"]
models = {{ painter = "tokens/painter", unpriced = "units/painter", ranker = "tokens/ranker", flat = "tokens/flat" }}
pass_through = [{{ path = "/rerank", tokens_in_max = 100, tokens_out_max = 0 }}, "/other"]

[[model]]
name = "painter"
operations = ["images"]
usd_per_mtok = {{ input = "5", output = "40" }}

[[model]]
name = "unpriced"
operations = ["images"]

[[model]]
name = "ranker"
operations = ["pass_through"]
usd_per_mtok = {{ input = "1", output = "1" }}

[[model]]
name = "flat"
operations = ["pass_through"]
usd_per_mtok = {{ input = "0", output = "0" }}
usd_per_call = {{ request = "0.01" }}

[[budget]]
name = "hard"
usd = "1"
period = "total"
"""


def test_a_hard_budget_holds_what_a_post_could_cost(tmp_path: Path, studio: Studio) -> None:
    installation = Installation(tmp_path, BUDGETED.format(url=studio.url))
    with installation.serving() as server:
        asked = {"model": "painter", "prompt": "A mill"}
        status, headers, _ = post(server, "/images/generations", asked)
        assert status == 200
        assert Decimal(headers["x-headrace-cost-max"]) > Decimal(16_384 * 40) / 1_000_000
        sent = len(studio.sent)
        status, _, told = post(server, "/images/generations", {**asked, "n": 2})
        assert (status, told["error"]["code"]) == (429, "insufficient_quota")
        status, _, told = post(server, "/images/generations", {**asked, "model": "unpriced"})
        assert (status, told["error"]["code"]) == (403, "unpriced_model")
        status, _, told = post(server, "/other", {"model": "ranker"})
        assert (status, told["error"]["code"]) == (403, "unbounded_request")
        assert len(studio.sent) == sent
        assert post(server, "/rerank", {"model": "ranker"})[0] == 200
        status, headers, _ = post(server, "/rerank", {"model": "flat"})
        assert (status, headers["x-headrace-cost"]) == (200, "0.01")
    installation.run("usage", "verify")


NODE = """
import OpenAI, { toFile } from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: process.argv[3], maxRetries: 0 });
const sound = Buffer.from("sound");
const judged = await client.moderations.create({ model: "judge", input: "x" });
const drawn = await client.images.generate({ model: "painter", prompt: "A mill" });
const edited = await client.images.edit({ model: "painter", prompt: "More", image: await toFile(sound, "a.png", { type: "image/png" }) });
const events = [];
for await (const event of await client.images.generate({ model: "painter", prompt: "A mill", stream: true })) events.push(event.type);
const spoken = await client.audio.speech.create({ model: "reader", voice: "alloy", input: "Water" });
const heard = await client.audio.transcriptions.create({ model: "scribe", file: await toFile(sound, "a.mp3") });
const ranked = await client.post("/rerank", { body: { model: "ranker", query: "x" } });
console.log(JSON.stringify({ flagged: judged.results[0].flagged, images: drawn.data.length + edited.data.length, events,
  spoken: (await spoken.arrayBuffer()).byteLength, heard: heard.text, ranked: ranked.results.length }));
"""


def test_openai_for_node(server: Running, tmp_path: Path) -> None:
    """The official client of JavaScript."""
    told = javascript.told(NODE, server, tmp_path)
    assert told == {
        "flagged": True,
        "images": 2,
        "events": ["image_generation.partial_image", "image_generation.completed"],
        "spoken": len(SOUND),
        "heard": WORDS,
        "ranked": 1,
    }
