"""The command line: one file a command."""

from headrace.cli.main import main

__all__ = ["main"]
