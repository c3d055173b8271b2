"""Records for tests, with everything that a test does not speak of filled in."""

from headrace.core.usage import Usage
from headrace.metering import Admit, Lost, Settle, Void

MODEL, PRICE = "smollm2-135m-instruct", "smollm2-135m-instruct@2026-11-01"
BOUND = Usage(1_000, output=500)


def admit(
    request: str = "req_1",
    attempt: int = 0,
    *,
    moment: int = 1_000,
    organization: str = "acme",
    project: str = "demo",
    key: str = "key_1",
    traffic_class: str = "enterprise",
    model: str = MODEL,
    bound: Usage = BOUND,
    bound_pico: int | None = 30_000_000,
) -> Admit:
    return Admit(
        request, attempt, moment, organization, project, key, traffic_class, "chat", model, "embedded", True, bound, bound_pico, PRICE
    )


def settle(admitted: Admit, *, cost_pico: int | None = 12_345, moment: int = 2_000, usage: Usage = Usage(100, output=5)) -> Settle:  # noqa: B008 -- frozen
    return Settle(admitted, moment, usage, cost_pico, "confirmed", "completed", 12, 340, "SmolLM2")


def lost(admitted: Admit, *, moment: int = 3_000) -> Lost:
    return Lost(admitted, moment)


def void(admitted: Admit, *, moment: int = 2_000) -> Void:
    return Void(admitted, moment, "upstream_unreachable")
