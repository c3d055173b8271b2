"""Monthly invoices: lines by project, model, tier and segment, each rounded once to the cent (half to even) with what that left out shown.

The lines add up to the total, and total and residue to what the ledger says, exactly. An invoice names the Merkle root over the records it
is made of, so that whoever has them can compute it again, without us. Once issued it is never changed: what is learned later about its
month is a line of a later invoice, marked as a correction.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import msgspec

from headrace.core.money import PICO_PER_USD, usd
from headrace.metering.lines import Line, merged, order_of
from headrace.metering.merkle import Proof, leaf, proof_of, proves, root_of

PICO_PER_CENT = PICO_PER_USD // 100
Kind: TypeAlias = Literal["usage", "correction", "credit", "adjustment"]


class Attempted(msgspec.Struct, frozen=True, array_like=True):
    """One attempt as an invoice is made of it: a leaf of its tree, and what `headrace usage export` gives away for the offline check."""

    request: str
    attempt: int
    state: str
    admitted: int
    project: str
    key: str
    model: str
    tier: str
    price: str
    tokens: tuple[int, ...]
    cost_pico: int

    @property
    def leaf(self) -> bytes:
        return leaf(msgspec.msgpack.encode(self))


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True):
    """`amount_cents` is what is asked for; `exact_pico` what was used; their difference is the line's residue."""

    kind: Kind = "usage"
    month: str
    project: str
    model: str
    tier: str
    price: str
    segment: str
    quantity: int
    unit_pico: int | None
    exact_pico: int
    amount_cents: int
    memo: str = ""

    @property
    def residue_pico(self) -> int:
        return self.exact_pico - self.amount_cents * PICO_PER_CENT


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """`root` is the Merkle root over `records` attempts, `chain` the ledger's hash when it was issued, both in hexadecimal digits."""

    number: str
    organization: str
    month: str
    issued: int
    lines: tuple[InvoiceLine, ...]
    exact_pico: int
    total_cents: int
    residue_pico: int
    records: int
    root: str
    chain: str
    currency: str = "USD"

    @property
    def total_usd(self) -> str:
        return cents(self.total_cents)


def rounded(pico: int) -> int:
    """Cents, half to even."""
    whole, rest = divmod(pico, PICO_PER_CENT)
    half = PICO_PER_CENT // 2
    return whole + (rest > half or (rest == half and whole % 2 == 1))


def cents(amount: int) -> str:
    """Dollars and cents, as people write them."""
    sign = "-" if amount < 0 else ""
    return f"{sign}{abs(amount) // 100:,}.{abs(amount) % 100:02d}"


def invoice(
    *,
    number: str,
    organization: str,
    month: str,
    issued: int,
    lines: Iterable[Line],
    others: Iterable[InvoiceLine] = (),
    leaves: Sequence[bytes] = (),
    chain: str = "",
) -> Invoice:
    """An invoice over the lines of one month, and `others`: corrections, credits, adjustments."""
    shown = [_line(line, month) for line in merged(lines, {"key": "", "traffic_class": "", "operation": "", "pool": ""})]
    rows = (*shown, *others)
    exact = sum(row.exact_pico for row in rows)
    total = sum(row.amount_cents for row in rows)
    return Invoice(
        number=number,
        organization=organization,
        month=month,
        issued=issued,
        lines=rows,
        exact_pico=exact,
        total_cents=total,
        residue_pico=exact - total * PICO_PER_CENT,
        records=len(leaves),
        root=root_of(leaves).hex(),
        chain=chain,
    )


def other_line(kind: Kind, month: str, pico: int, memo: str, project: str = "") -> InvoiceLine:
    """A credit (below zero), an adjustment or a correction, which no tokens stand behind."""
    return InvoiceLine(
        kind=kind,
        month=month,
        project=project,
        model="",
        tier="",
        price="",
        segment="unsplit",
        quantity=1,
        unit_pico=None,
        exact_pico=pico,
        amount_cents=rounded(pico),
        memo=memo,
    )


def corrections(invoiced: Iterable[InvoiceLine], now: Iterable[Line], month: str) -> list[InvoiceLine]:
    """By which amounts the lines of a month that was invoiced differ from what is known of it now. Corrections that were invoiced since are
    among `invoiced`."""
    sums: dict[tuple[str, str, str, str, str], list[int]] = {}
    for row in invoiced:
        if row.month == month and row.kind in ("usage", "correction"):
            found = sums.setdefault((row.project, row.model, row.tier, row.price, row.segment), [0, 0])
            found[0] -= row.quantity
            found[1] -= row.exact_pico
    for line in now:
        owner = line.owner
        found = sums.setdefault((owner.project, owner.model, owner.tier, owner.price, line.segment), [0, 0])
        found[0] += line.quantity
        found[1] += line.cost_pico
    ordered = sorted(sums, key=lambda name: (*name[:4], order_of(name[4])))
    return [
        InvoiceLine(
            kind="correction",
            month=month,
            project=name[0],
            model=name[1],
            tier=name[2],
            price=name[3],
            segment=name[4],
            quantity=sums[name][0],
            unit_pico=None,
            exact_pico=sums[name][1],
            amount_cents=rounded(sums[name][1]),
            memo=f"known since {month} was invoiced",
        )
        for name in ordered
        if sums[name][1]
    ]


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """One record of an invoice, and the hashes that show that it is under its root: on which side each lies, in hexadecimal digits."""

    invoice: str
    record: Attempted
    path: tuple[tuple[bool, str], ...]
    root: str

    @property
    def holds(self) -> bool:
        path = tuple((left, bytes.fromhex(beside)) for left, beside in self.path)
        return proves(Proof(path), msgspec.msgpack.encode(self.record), bytes.fromhex(self.root))


def prove(asked: Invoice, records: Sequence[Attempted], request: str) -> list[Proven]:
    """A proof for each attempt of a request that an invoice is made of. Raises ValueError where the records are not the invoice's."""
    leaves = [record.leaf for record in records]
    if root_of(leaves).hex() != asked.root:
        raise ValueError(f"the records are not those that {asked.number} was made of")
    return [
        Proven(
            invoice=asked.number,
            record=record,
            path=tuple((left, beside.hex()) for left, beside in proof_of(leaves, at).path),
            root=asked.root,
        )
        for at, record in enumerate(records)
        if record.request == request
    ]


def faults(asked: Invoice, records: Sequence[Attempted] | None = None) -> list[str]:
    """What is wrong with an invoice, by itself and by the records it is made of. Empty: nothing. Needs no book and no server."""
    found = [
        f"line {at} ({line.model} {line.segment}): {line.amount_cents} cents is not {usd(line.exact_pico)} rounded half to even"
        for at, line in enumerate(asked.lines, 1)
        if rounded(line.exact_pico) != line.amount_cents
    ]
    found += [
        f"line {at} ({line.model} {line.segment}): {line.quantity} at {line.unit_pico} pico-USD is not {line.exact_pico}"
        for at, line in enumerate(asked.lines, 1)
        if line.unit_pico is not None and line.quantity * line.unit_pico != line.exact_pico
    ]
    total, exact = sum(line.amount_cents for line in asked.lines), sum(line.exact_pico for line in asked.lines)
    if total != asked.total_cents:
        found.append(f"the lines add up to {cents(total)}, the total says {asked.total_usd}")
    if exact != asked.exact_pico or exact - total * PICO_PER_CENT != asked.residue_pico:
        found.append("what the rounding left out is not what is said of it")
    return found if records is None else found + _record_faults(asked, records)


def _record_faults(asked: Invoice, records: Sequence[Attempted]) -> list[str]:
    found = []
    if len(records) != asked.records:
        found.append(f"the invoice is made of {asked.records} records, here are {len(records)}")
    if root_of([record.leaf for record in records]).hex() != asked.root:
        found.append("the Merkle root over the records is another than the invoice's")
    used = sum(record.cost_pico for record in records)
    billed = sum(line.exact_pico for line in asked.lines if line.kind == "usage")
    if used != billed:
        found.append(f"the records cost {usd(used)}, the invoice's usage is {usd(billed)}")
    return found


def _line(line: Line, month: str) -> InvoiceLine:
    owner = line.owner
    return InvoiceLine(
        month=month,
        project=owner.project,
        model=owner.model,
        tier=owner.tier,
        price=owner.price,
        segment=line.segment,
        quantity=line.quantity,
        unit_pico=line.unit_pico,
        exact_pico=line.cost_pico,
        amount_cents=rounded(line.cost_pico),
    )
