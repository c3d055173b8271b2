"""headrace: the open, self-hosted infrastructure layer for intelligence. Each room's own `__init__` says what is public."""

__all__: list[str] = []
