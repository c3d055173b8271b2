"""What people build on, unchanged: LangChain's own suite for chat models, agents of OpenAI's SDK and of pydantic-ai with a tool each; and
schemathesis, which asks whatever our OpenAPI document allows, and more. `sh scripts/environment.sh clients` installs them;
without them these are skipped, and in CI they fail.

The vendor is scripted: it fills in what a schema asks for, so that what is tested is the way to a model and back, not the model.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.others import need_others, run, suite_passes
from tests.scholar import Scholar
from tests.server import Installation, Running, pool
from tests.studio import Studio

STUDIO = {"judge": "moderations", "painter": "images", "speaker": "speech", "scribe": "transcriptions"}
MODELS = {
    "EmbeddingsRequest": "embedder",
    "Moderation": "judge",
    "Image": "painter",
    "ImageForm": "painter",
    "VariationForm": "painter",
    "Speech": "speaker",
    "RecordingForm": "scribe",
}
"""What is asked by which schema of the document; all others are for `scholar`."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

pytestmark = [pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    need_others()
    with Scholar.open() as scholar, Studio.open() as studio:
        settings = pool("scholar", scholar.url, "scholar", "scholar-2", "embedder") + pool("studio", studio.url, *STUDIO)
        operations = {"embedder": "embeddings", **STUDIO}
        settings += "".join(f'[[model]]\nname = "{model}"\noperations = ["{does}"]\n' for model, does in operations.items())
        with Installation(tmp_path_factory.mktemp("frameworks"), settings).serving() as running:
            yield running


@pytest.mark.parametrize("suite", ["langchain_suite.py", "tools_suite.py"])
def test_a_framework(server: Running, suite: str) -> None:
    suite_passes(server, suite)


def test_whatever_the_document_allows(server: Running, tmp_path: Path) -> None:
    """No answer is a fault of ours, and none is undocumented."""
    status, body = server.get("/openapi.json")
    assert status == 200
    document = json.loads(body)
    for name, schema in document["components"]["schemas"].items():
        if "model" in schema.get("properties", {}):
            schema["properties"]["model"] = {"const": MODELS.get(name, "scholar")}
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    keys = ["--header", f"Authorization: Bearer {server.key}", "--header", f"x-api-key: {server.key}"]
    how = ["--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--checks", CHECKS, "--suppress-health-check", "all"]
    told = run(
        server, "schemathesis", "run", "openapi.json", "--url", server.url, *keys, *how,
        "--request-timeout", "30", "--continue-on-failure", "--no-color", folder=tmp_path,
    )  # fmt: skip
    assert "passed" in told
