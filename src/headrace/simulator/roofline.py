"""The service of silicon on which nothing was measured, from data sheets: bytes over bandwidth, operations over operations a second.

    a step        the weights are read once                                   weights / (bandwidth · 0.92)
    a token held  its keys and values are read                                bytes a token / (bandwidth · 0.8)
    a prompt's token  two operations a parameter that works on it             2 · parameters / (operations a second · 0.9)

Reading weights and computing prompts overlap, so that the first tokens of prompt in a step, as many as are computed while the weights are
read, cost nothing. With several accelerators each layer waits twice until all have told each other. The three efficiencies were chosen
on one measured run (Llama-3.1-8B on an RTX 4090, vLLM 0.19, LLMServingSim's bench), which they meet to 2 %; elsewhere they are a guess.
"""

import msgspec

from headrace.simulator.service import Service

MEMORY_EFFICIENCY = 0.92
CACHE_EFFICIENCY = 0.8
COMPUTE_EFFICIENCY = 0.9
HOP_US = 15.0
"""What an exchange between accelerators takes however little is said."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What a model weighs. `parameters_g` are all of its parameters in billions, `active_g` those that work on a token."""

    model: str
    parameters_g: float
    active_g: float
    layers: int
    hidden: int
    kv_heads: int
    head_size: int

    def kv_bytes(self, bytes_each: float) -> float:
        """Of keys and values of one token."""
        return 2 * self.layers * self.kv_heads * self.head_size * bytes_each


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """What an accelerator does: bandwidth in GB/s, dense operations of the precision in TFLOP/s, and the link to the others in GB/s."""

    silicon: str
    memory_gb: float
    bandwidth_gb_s: float
    tflops: float
    link_gb_s: float = 450.0


SHAPES: tuple[Shape, ...] = (
    Shape(model="llama-3.1-8b", parameters_g=8.03, active_g=8.03, layers=32, hidden=4_096, kv_heads=8, head_size=128),
    Shape(model="llama-3.1-70b", parameters_g=70.6, active_g=70.6, layers=80, hidden=8_192, kv_heads=8, head_size=128),
    Shape(model="qwen3-32b", parameters_g=32.8, active_g=32.8, layers=64, hidden=5_120, kv_heads=8, head_size=128),
    Shape(model="qwen3-30b-a3b", parameters_g=30.5, active_g=3.3, layers=48, hidden=2_048, kv_heads=4, head_size=128),
    Shape(model="qwen3-8b", parameters_g=8.19, active_g=8.19, layers=36, hidden=4_096, kv_heads=8, head_size=128),
    Shape(model="qwen3-235b-a22b", parameters_g=235, active_g=22, layers=94, hidden=4_096, kv_heads=4, head_size=128),
)
"""From the models' published configurations."""

CHIPS: tuple[Chip, ...] = (
    Chip(silicon="nvidia-rtx-4090", memory_gb=24, bandwidth_gb_s=1_008, tflops=165.2, link_gb_s=16),
    Chip(silicon="nvidia-rtx-pro-6000", memory_gb=96, bandwidth_gb_s=1_792, tflops=503.8, link_gb_s=32),
    Chip(silicon="nvidia-a100-80gb", memory_gb=80, bandwidth_gb_s=2_039, tflops=312, link_gb_s=300),
    Chip(silicon="nvidia-l40s", memory_gb=48, bandwidth_gb_s=864, tflops=362, link_gb_s=32),
    Chip(silicon="nvidia-h100", memory_gb=80, bandwidth_gb_s=3_350, tflops=989),
    Chip(silicon="nvidia-h200", memory_gb=141, bandwidth_gb_s=4_800, tflops=989),
    Chip(silicon="nvidia-b200", memory_gb=180, bandwidth_gb_s=8_000, tflops=2_250, link_gb_s=900),
)
"""At 16 bits, dense, from the vendors' data sheets."""


def estimate(
    shape: Shape,
    chip: Chip,
    *,
    tensor: int = 1,
    bytes_a_weight: float = 2.0,
    batch_max: int = 256,
    chunk_tokens: int = 2_048,
    kv_tokens: int | None = None,
    engine: str = "vllm",
) -> Service:
    """A service by data sheets. Raises ValueError where the weights leave no room for context."""
    bandwidth = chip.bandwidth_gb_s * 1e9 * tensor / 1_000  # bytes a millisecond
    compute = chip.tflops * 1e12 * tensor * (2 / bytes_a_weight) / 1_000
    exchanges = 2 * shape.layers if tensor > 1 else 0
    told = exchanges * shape.hidden * 2 * 2 * (tensor - 1) / tensor / (chip.link_gb_s * 1e6)
    step_ms = shape.parameters_g * 1e9 * bytes_a_weight / (bandwidth * MEMORY_EFFICIENCY)
    prompt_ms = 2 * shape.active_g * 1e9 / (compute * COMPUTE_EFFICIENCY)
    room = kv_tokens if kv_tokens is not None else _kv_tokens(shape, chip, tensor, bytes_a_weight)
    if room < 1:
        raise ValueError(f"{shape.model} at {bytes_a_weight} bytes a weight leaves no room on {tensor} × {chip.silicon}")
    return Service(
        model=shape.model,
        silicon=chip.silicon,
        engine=engine,
        precision={2.0: "bf16", 1.0: "fp8"}.get(bytes_a_weight, "other"),
        tensor=tensor,
        accelerators=tensor,
        step_ms=step_ms + exchanges * HOP_US / 1_000,
        sequence_ms=told,
        held_ms=shape.kv_bytes(2.0) / (bandwidth * CACHE_EFFICIENCY),
        prompt_ms=prompt_ms + told,
        spare_tokens=int(step_ms / prompt_ms),
        batch_max=batch_max,
        chunk_tokens=chunk_tokens,
        kv_tokens=room,
        tokens_in_max=chunk_tokens,
        error_percent=None,
        grade="estimated",
        source="data sheets, by headrace.simulator.roofline",
    )


def _kv_tokens(shape: Shape, chip: Chip, tensor: int, bytes_a_weight: float) -> int:
    free_gb = 0.9 * chip.memory_gb * tensor - shape.parameters_g * bytes_a_weight - 2 * tensor
    return int(free_gb * 1e9 / shape.kv_bytes(2.0))
