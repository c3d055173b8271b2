"""Two servers for the whole suite of contracts: one with the embedded model, one whose only pool is a scripted vendor. Modules of the
workspace have one of their own."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.dialects import Polyglot
from tests.server import START_WITH_MODEL_S, Installation, Running, pool
from tests.talker import Talker, talking
from tests.vendor import SCRIPTS, Vendor

EMBEDDED = """
[engine]
sequences_max = 16
"""
SMALL_LIMITS = """
[server]
body_bytes_max = 262144
head_bytes_max = 16384
request_timeout_ms = 1500
stalled_timeout_ms = 3000
[health]
failures_max = 1_000_000
samples_min = 1_000_000
"""

OTHER_KEY = "sk-hr-0123456789012345678901234567890123"
OTHER_PROJECT = """
[[key]]
name = "other"
secret_env = "OTHER_KEY"
project = "other"
"""


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The program as it runs without any settings to speak of, its model loaded. Tests that use it are marked `engine`."""
    with Installation(tmp_path_factory.mktemp("embedded"), EMBEDDED).serving(within_s=START_WITH_MODEL_S) as server:
        yield server


@pytest.fixture(scope="session")
def vendor() -> Iterator[Vendor]:
    with Vendor.open() as opened:
        yield opened


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Iterator[Running]:
    """A server with small limits and no model of its own: starts in a second."""
    settings = pool("vendor", vendor.url, *SCRIPTS) + SMALL_LIMITS
    with Installation(tmp_path_factory.mktemp("scripted"), settings).serving() as server:
        yield server


@pytest.fixture(scope="session")
def client(embedded: Running) -> Iterator[OpenAI]:
    """The official client, with nothing changed but address and key."""
    with OpenAI(base_url=embedded.base_url, api_key=embedded.key) as opened:
        yield opened


@pytest.fixture(scope="session")
def polyglot() -> Iterator[Polyglot]:
    with Polyglot.open() as opened:
        yield opened


@pytest.fixture(scope="session")
def dialects(tmp_path_factory: pytest.TempPathFactory, polyglot: Polyglot) -> Iterator[Running]:
    """A server before a vendor of three dialects: `chat`, `messages` and `responses` name the pool's dialect, the others its behaviour."""
    pools = (
        pool("chat", polyglot.url, "chat", "thinker", "broken", "nameless", "cut")
        + pool("messages", polyglot.url, "messages", dialect="anthropic")
        + pool("responses", polyglot.url, "responses", responses=True)
    )
    with Installation(tmp_path_factory.mktemp("dialects"), pools + OTHER_PROJECT, {"OTHER_KEY": OTHER_KEY}).serving() as server:
        yield server


@pytest.fixture(scope="module")
def talker() -> Iterator[Talker]:
    """A scripted model for the workspace."""
    with talking() as talker:
        yield talker


@pytest.fixture(scope="module")
def server(place: Installation) -> Iterator[Running]:
    """The server of a module, in its own `place`."""
    with place.serving() as running:
        yield running
