"""An alert as it is told: a POST that is signed as the Standard Webhooks specification says, so that its receiver can believe it.

webhook-id         the same at every try: who has heard it already can say so
webhook-timestamp  seconds; receivers refuse what is old
webhook-signature  v1,base64(HMAC-SHA256(secret, id "." timestamp "." body))
"""

import hmac
from base64 import b64encode
from http.client import HTTPException
from urllib.error import URLError
from urllib.request import Request, urlopen

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.core.money import usd
from headrace.storage.treasury import Alert

TIMEOUT_S = 10.0


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


def signature(secret: str, id: str, timestamp_s: int, body: bytes) -> str:
    content = f"{id}.{timestamp_s}.".encode() + body
    return "v1," + b64encode(hmac.digest(secret.encode(), content, "sha256")).decode()


def deliver(alert: Alert, url: str, secret: str, now: Moment) -> str | None:
    """Tell it once. Returns why it was not heard; None: it was."""
    body, timestamp_s = body_of(alert), now // SECOND
    headers = {
        "content-type": "application/json",
        "user-agent": "headrace",
        "webhook-id": id_of(alert),
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature(secret, id_of(alert), timestamp_s, body),
    }
    try:
        with urlopen(Request(url, data=body, headers=headers, method="POST"), timeout=TIMEOUT_S):  # noqa: S310 -- the settings allow http and https only
            return None
    except (URLError, HTTPException, OSError, ValueError) as why:
        return str(why)
