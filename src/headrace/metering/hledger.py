"""The books as a journal for hledger, which checks them by itself: every account and the commodity declared, every entry balanced."""

from collections.abc import Iterable, Mapping

import msgspec

from headrace.core.money import PICO_PER_USD
from headrace.metering.ledger import Account

_KINDS: Mapping[str, str] = {
    "customer": "assets:receivable",
    "revenue": "revenues",
    "suspense": "liabilities:suspense",
    "cost": "expenses:cost",
    "payable": "liabilities:payable",
    "rounding": "expenses:rounding",
    "credits": "expenses:credits",
    "adjustments": "revenues:adjustments",
    "bank": "assets:bank",
    "idle": "expenses:idle",
    "capacity": "liabilities:capacity",
    "budget": "budget",
}


class Posted(msgspec.Struct, frozen=True, order=True):
    """What one account owes another for one day, all added up."""

    day: str
    kind: str
    debit: Account
    credit: Account
    amount_pico: int


def named(account: Account) -> str:
    """An account as hledger knows it: parts by colons, and no two spaces or semicolons in a name."""
    kind, _, rest = account.partition(":")
    parts = [part for part in rest.split("/") if part]
    return ":".join([_KINDS.get(kind, kind), *(_plain(part) for part in parts)])


def journal(entries: Iterable[Posted], title: str) -> str:
    """The journal's text. Amounts have all twelve decimals, so that nothing is lost."""
    rows = sorted(one for one in entries if one.amount_pico)
    accounts = sorted({named(account) for one in rows for account in (one.debit, one.credit)})
    head = [f"; {title}", "commodity 0.000000000000 USD", *(f"account {account}" for account in accounts), ""]
    body = [_entry(one) for one in rows]
    return "\n".join([*head, *body])


def _entry(one: Posted) -> str:
    amount = exact(one.amount_pico)
    return f"{one.day} * {one.kind}\n    {named(one.debit)}    {amount} USD\n    {named(one.credit)}    -{amount} USD\n"


def exact(pico: int) -> str:
    """Dollars with twelve decimals."""
    sign = "-" if pico < 0 else ""
    return f"{sign}{abs(pico) // PICO_PER_USD}.{abs(pico) % PICO_PER_USD:012d}"


def _plain(part: str) -> str:
    kept = "".join(" " if letter.isspace() or letter in ";:" else letter for letter in part)
    return " ".join(kept.split()) or "-"
