"""The live world: the story of one request."""

from headrace.gateway.story import Gateway, Listener, Log, Visit

__all__ = ["Gateway", "Listener", "Log", "Visit"]
