"""One file a dialect; each knows nothing of the others. Only `compose` and `testing` name them."""

__all__: list[str] = []
