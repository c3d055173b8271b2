"""An alert as it is told: what its message says, and its name."""

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.core.money import usd
from headrace.storage import posting
from headrace.storage.treasury import Alert
from headrace.wire.hooks import headers


def body_of(alert: Alert) -> bytes:
    """What is told: which part of which budget is reached, and whom to write to where that was said."""
    told: dict[str, object] = {
        "budget": alert.budget,
        "instance": alert.instance or None,
        "period": alert.period or None,
        "percent": alert.percent,
        "spent_usd": usd(alert.spent_pico),
        "limit_usd": usd(alert.limit_pico),
    }
    if alert.recipients is not None:
        told |= {"recipients": alert.recipients.addresses, "subject_prefix": alert.recipients.subject_prefix}
    return msgspec.json.encode({"type": "budget.threshold_reached", "timestamp": alert.moment // SECOND, "data": told})


def id_of(alert: Alert) -> str:
    """An amount that was raised and is reached again is told of by another id."""
    return f"budget-{alert.account}-{alert.percent}-{alert.moment}"


def deliver(alert: Alert, url: str, secret: str, now: Moment) -> str | None:
    """Tell it once. Returns why it was not heard; None: it was."""
    body = body_of(alert)
    return posting.deliver(url, headers(secret, id_of(alert), now // SECOND, body), body)
