"""Hands for agents: commands in a sandbox, files in drafts that are taken over or thrown away, and the one way out to the network."""

from headrace.sandbox.command import PROXY_PORT, Line, confined, run, run_line
from headrace.sandbox.doorway import Doorway
from headrace.sandbox.draft import Change, Draft
from headrace.sandbox.level import Level
from headrace.sandbox.limits import Limits, Outcome
from headrace.sandbox.review import Choice, Reviewed, drop, keep, review
from headrace.sandbox.trial import try_level

__all__ = [
    "PROXY_PORT",
    "Change",
    "Choice",
    "Doorway",
    "Draft",
    "Level",
    "Limits",
    "Line",
    "Outcome",
    "Reviewed",
    "confined",
    "drop",
    "keep",
    "review",
    "run",
    "run_line",
    "try_level",
]
