"""What a person may choose about the embedded engine: the `[engine]` table of the settings."""

import os
from typing import Literal, TypeAlias

import msgspec

BackendName: TypeAlias = Literal["openvino", "llamacpp"]


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one engine. A request that names no temperature or top_p gets the ones here, as model cards recommend them for
    small models; at OpenAI's default of 1.0 a model of 135 million parameters talks nonsense."""

    backend: Literal["auto", "openvino", "llamacpp"] = "auto"
    threads: int = 0  # 0: see `threads_for`
    context_max: int = 0  # 0: what the model was trained for, as far as the key-value cache holds it
    sequences_max: int = 32  # answers worked on at once
    queue_max: int = 64  # requests waiting beyond those; more are refused with the time after which a place is expected
    kv_cache_mb: int = 1024  # grows up to this as it fills
    prefill_tokens_max: int = 512  # prompt tokens a step: how long running answers pause while a long prompt is read
    temperature: float = 0.2
    repetition_penalty: float = 1.1  # without it a model of this size says the same sentence until its context is full
    top_p: float = 0.9
    load_timeout_s: int = 600  # the first load of a large model converts it
    stall_timeout_s: int = 120  # a worker silent for so long while it has work is ended and started again

    def __post_init__(self) -> None:
        for name, low, high in (
            ("threads", 0, 1024),
            ("context_max", 0, 1 << 24),
            ("sequences_max", 1, 256),
            ("queue_max", 0, 100_000),
            ("kv_cache_mb", 16, 1 << 20),
            ("prefill_tokens_max", 32, 1 << 16),
            ("temperature", 0, 2),
            ("repetition_penalty", 1, 2),
            ("load_timeout_s", 1, 86_400),
            ("stall_timeout_s", 1, 86_400),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"engine.{name} must be {low} to {high}")
        if not 0 < self.top_p <= 1:
            raise ValueError("engine.top_p must be above 0, at most 1")


def threads_for(backend: BackendName, chosen: int) -> int:
    """How many threads compute. OpenVINO takes all cores: it shares them gracefully. llama.cpp's threads wait for each other so often
    that one busy neighbour, as a gateway is, costs them two thirds of their speed: it leaves a core free."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return chosen or (cores if backend == "openvino" else max(1, cores - 1))
