"""What the engine says about itself: once about its model, at any moment about its work."""

import msgspec

from headrace.engine.settings import BackendName


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The model that answers. `context` is what a prompt and its answer may have together here, in tokens."""

    name: str
    architecture: str
    parameters: int
    quantisation: str
    sha256: str
    backend: BackendName
    threads: int
    context: int
    kv_tokens_max: int
    template_knows_tools: bool
    load_s: float


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Work at this moment, and counts since the start."""

    ready: bool
    running: int
    waiting: int
    kv_use: float
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    answered: int
    failed: int
    left: int
    refused: int
    restarts: int
    worker_pid: int | None
    rss_bytes: int
