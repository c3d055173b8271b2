"""Hands for agents: commands in a sandbox, files in drafts that are taken over or thrown away, and the one way out to the network."""

from headrace.sandbox.command import Line, confined, run
from headrace.sandbox.draft import Change, Draft
from headrace.sandbox.level import Level
from headrace.sandbox.limits import Limits, Outcome
from headrace.sandbox.trial import try_level

__all__ = ["Change", "Draft", "Level", "Limits", "Line", "Outcome", "confined", "run", "try_level"]
