"""What is chosen."""

from headrace.routing.board import Board, Choice, Evidence, Load, Shortlist, broken_rule, read_evidence
from headrace.routing.classes import CLASSES, TIERS, ClassTerms
from headrace.routing.decide import VERDICTS, Placed, Reason, Refuse, Send, Wait, decide
from headrace.routing.health import Health, HealthSettings, outliers
from headrace.routing.line import Line, Place
from headrace.routing.policies import POLICIES, Policy, Scene, latency_ms, marginal_pico
from headrace.routing.retries import RetryBudget
from headrace.routing.shares import Shares

__all__ = [
    "CLASSES",
    "POLICIES",
    "TIERS",
    "VERDICTS",
    "Board",
    "Choice",
    "ClassTerms",
    "Evidence",
    "Health",
    "HealthSettings",
    "Line",
    "Load",
    "Place",
    "Placed",
    "Policy",
    "Reason",
    "Refuse",
    "RetryBudget",
    "Scene",
    "Send",
    "Shares",
    "Shortlist",
    "Wait",
    "broken_rule",
    "decide",
    "latency_ms",
    "marginal_pico",
    "outliers",
    "read_evidence",
]
