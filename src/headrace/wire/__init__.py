"""Codecs without I/O: bytes to values of `core` and back. Import from its modules, one dialect's part each."""

__all__: list[str] = ["openai_answer", "openai_chat", "openai_embeddings", "openai_upstream", "sse"]
