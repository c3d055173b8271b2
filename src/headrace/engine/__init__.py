"""The embedded engine: a real language model and an embedding model, each in a worker process of its own."""

from headrace.engine.answer import Answer
from headrace.engine.embedding import Embedded, Embedder, EmbeddingInfo
from headrace.engine.engine import Engine
from headrace.engine.settings import EngineSettings
from headrace.engine.status import EngineStatus, ModelInfo
from headrace.engine.weights import Weights, add, find, installed, obtain, obtain_embedding

__all__ = [
    "Answer",
    "Embedded",
    "Embedder",
    "EmbeddingInfo",
    "Engine",
    "EngineSettings",
    "EngineStatus",
    "ModelInfo",
    "Weights",
    "add",
    "find",
    "installed",
    "obtain",
    "obtain_embedding",
]
