"""What is chosen."""

from headrace.routing.decide import POLICIES, Load, Policy, Refuse, Send, decide, least_loaded

__all__ = ["POLICIES", "Load", "Policy", "Refuse", "Send", "decide", "least_loaded"]
