"""The workspace: runs, the driver that performs an agent's wishes, its tools, and what a model is told."""

from headrace.workspace.driver import Driver, Ending, Person
from headrace.workspace.hands import Hands
from headrace.workspace.honesty import BUILT_IN, verdict
from headrace.workspace.instructions import brought_along

__all__ = ["BUILT_IN", "Driver", "Ending", "Hands", "Person", "brought_along", "verdict"]
