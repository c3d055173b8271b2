"""What it costs: the price book, rating, the usage log's records, the ledger, limits and keys. Pure and synchronous."""

from headrace.metering.keys import PREFIX, KeyRow, digest, secret_from, shown
from headrace.metering.ledger import Account, Entry, Ledger, Transfer
from headrace.metering.limits import Granted, Limiter, Refused
from headrace.metering.prices import Price, PriceBook, UsdPerMtok, day_of, moment_of, parse_prices, price_row
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
    "Admit",
    "AttemptId",
    "Certainty",
    "Entry",
    "Evidence",
    "Granted",
    "KeyRow",
    "Ledger",
    "Limiter",
    "Lost",
    "Outcome",
    "Price",
    "PriceBook",
    "Record",
    "Refused",
    "Settle",
    "Standing",
    "State",
    "Transfer",
    "UsdPerMtok",
    "Void",
    "admitted",
    "day_of",
    "digest",
    "moment_of",
    "parse_prices",
    "price_row",
    "rate",
    "rate_bound",
    "secret_from",
    "shown",
    "standing",
]
