"""Which backend runs a model, and how large a key-value cache may be."""

from importlib.util import find_spec
from typing import Literal

from headrace.core.errors import SetupError
from headrace.engine.gguf import Gguf
from headrace.engine.prefix import BLOCK
from headrace.engine.settings import BackendName

# What OpenVINO GenAI's GGUF reader takes, as measured; it fails in the middle of loading for anything else.
OPENVINO_ARCHITECTURES = frozenset({"llama", "qwen2", "qwen3"})
OPENVINO_TYPES = frozenset({"F32", "F16", "Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K"})

# By module: what pip calls it.
CHAT_PACKAGES = {"jinja2": "jinja2", "jsonschema": "jsonschema"}
PACKAGES = {
    "openvino": {"openvino_genai": "openvino-genai", "llguidance": "llguidance", **CHAT_PACKAGES},
    "llamacpp": {"xllamacpp": "xllamacpp", **CHAT_PACKAGES},
    "embedding": {"openvino": "openvino", "tokenizers": "tokenizers", "numpy": "numpy"},
}


def backend_for(model: Gguf, asked: Literal["auto", "openvino", "llamacpp"]) -> BackendName:
    """OpenVINO where it can, as it is several times faster with many answers at once and long prompts; else llama.cpp."""
    if asked == "llamacpp":
        return "llamacpp"
    obstacle = _openvino_obstacle(model)
    if asked == "openvino":
        if obstacle:
            raise SetupError(f'The OpenVINO backend cannot run this model: {obstacle}. Choose engine.backend = "auto" or "llamacpp".')
        return "openvino"
    return "openvino" if not obstacle and find_spec("openvino_genai") else "llamacpp"


def missing_for(work: Literal["openvino", "llamacpp", "embedding"]) -> list[str]:
    """The packages that a backend, or embedding, needs and that are not installed."""
    return [package for module, package in PACKAGES[work].items() if find_spec(module) is None]


def kv_tokens_for(model: Gguf, backend: BackendName, kv_cache_mb: int) -> int:
    """How many tokens the key-value cache holds. OpenVINO keeps blocks of 32 tokens in 8 bits, keys with a scale and a zero point a
    channel and values with those a token, 4 bytes each, and grows into them; llama.cpp keeps 16 bits, and takes the memory at once."""
    heads = model.layers * model.kv_heads
    if backend == "llamacpp":
        return max(BLOCK, (kv_cache_mb << 20) // max(1, heads * model.head_size * 4) // 256 * 256)
    keys = model.head_size * (BLOCK + 8)
    values = BLOCK * (model.head_size + 8)
    return BLOCK * max(1, (kv_cache_mb << 20) // max(1, heads * (keys + values)))


def _openvino_obstacle(model: Gguf) -> str:
    if model.architecture not in OPENVINO_ARCHITECTURES:
        return f"its architecture is {model.architecture}"
    if strange := model.tensor_types - OPENVINO_TYPES:
        return f"it holds tensors of the types {', '.join(sorted(strange))}"
    return ""
