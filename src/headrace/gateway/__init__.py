"""The live world: the story of one request."""

from headrace.gateway.attempt import Listener, Log
from headrace.gateway.guarded import GuardedProvider
from headrace.gateway.guarding import GUARDS, REACH, Action, Guardrail, Guards
from headrace.gateway.room import Room
from headrace.gateway.story import Answer, Gateway
from headrace.gateway.till import BudgetLeft, Lender, Quote, Till, remaining_pico
from headrace.gateway.visit import Visit
from headrace.gateway.world import RuleFor, Terms, World, rooms_for

__all__ = [
    "GUARDS",
    "REACH",
    "Action",
    "Answer",
    "BudgetLeft",
    "Gateway",
    "GuardedProvider",
    "Guardrail",
    "Guards",
    "Lender",
    "Listener",
    "Log",
    "Quote",
    "Room",
    "RuleFor",
    "Terms",
    "Till",
    "Visit",
    "World",
    "remaining_pico",
    "rooms_for",
]
