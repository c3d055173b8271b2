"""For who builds on headrace: the conformance suites that every adapter and engine passes, and things that can be turned by hand."""

__all__: list[str] = ["builders", "clock", "engine", "providers", "scripted"]
