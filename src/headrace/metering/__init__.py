"""What it costs: the price book, rating, the usage log's records, the ledger, limits and keys. Pure and synchronous."""

from headrace.metering.budgets import AccountOpening, Asker, Budget, Mode, Scope, Whom, instances
from headrace.metering.keys import PREFIX, KeyRow, digest, secret_from, shown
from headrace.metering.leases import Account as LeaseAccount
from headrace.metering.leases import Lease, close, correct, crossed, lend
from headrace.metering.ledger import Account, Entry, Ledger, Transfer
from headrace.metering.limits import Granted, Limiter, Refused
from headrace.metering.periods import Period, Span, span_of
from headrace.metering.prices import Price, PriceBook, UsdPerMtok, day_of, moment_of, parse_prices, price_row
from headrace.metering.purse import Hold, Said, Slice, Told, lacking, overspent, reserve
from headrace.metering.rating import rate, rate_bound
from headrace.metering.records import (
    Admit,
    AttemptId,
    Certainty,
    Evidence,
    Lost,
    Outcome,
    Record,
    Settle,
    Standing,
    State,
    Void,
    admitted,
    standing,
)

__all__ = [
    "PREFIX",
    "Account",
    "AccountOpening",
    "Admit",
    "Asker",
    "AttemptId",
    "Budget",
    "Certainty",
    "Entry",
    "Evidence",
    "Granted",
    "Hold",
    "KeyRow",
    "Lease",
    "LeaseAccount",
    "Ledger",
    "Limiter",
    "Lost",
    "Mode",
    "Outcome",
    "Period",
    "Price",
    "PriceBook",
    "Record",
    "Refused",
    "Said",
    "Scope",
    "Settle",
    "Slice",
    "Span",
    "Standing",
    "State",
    "Told",
    "Transfer",
    "UsdPerMtok",
    "Void",
    "Whom",
    "admitted",
    "close",
    "correct",
    "crossed",
    "day_of",
    "digest",
    "instances",
    "lacking",
    "lend",
    "moment_of",
    "overspent",
    "parse_prices",
    "price_row",
    "rate",
    "rate_bound",
    "reserve",
    "secret_from",
    "shown",
    "span_of",
    "standing",
]
