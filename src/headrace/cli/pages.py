"""An invoice as a page: HTML that needs nothing from elsewhere, and a plain PDF."""

import html
from collections.abc import Iterator

from headrace.core.money import usd
from headrace.metering import Invoice, InvoiceLine
from headrace.metering.invoices import cents
from headrace.metering.lines import METERS

HEAD = ("Project", "Model", "Tier", "What", "Quantity", "USD", "exactly")
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 3rem auto; max-width: 60rem; color: #111 }
h1 { font-size: 1.4rem } table { border-collapse: collapse; width: 100% }
th, td { padding: .3rem .5rem; border-bottom: 1px solid #ddd; text-align: left }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
tfoot td { font-weight: 600 } small { color: #555; overflow-wrap: anywhere }
"""
PAGE_LINES, WIDTH, HEIGHT, SIZE = 62, 842, 595, 8


def html_of(invoice: Invoice) -> str:
    """The invoice as a page of HTML."""
    head = "".join(f'<th{_class(at)} scope="col">{name}</th>' for at, name in enumerate(HEAD))
    rows = "".join(
        "<tr>" + "".join(f"<td{_class(at)}>{html.escape(cell)}</td>" for at, cell in enumerate(_cells(line))) + "</tr>\n"
        for line in invoice.lines
    )
    number = html.escape(invoice.number)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Invoice {number}</title>'
        f"<style>{_STYLE}</style></head><body>\n"
        f"<h1>Invoice {number}</h1>\n<p>{html.escape(invoice.organization)} · {invoice.month} · {invoice.currency}</p>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n"
        f'<tfoot><tr><td colspan="5">Total</td><td class="n">{invoice.total_usd}</td><td class="n">{usd(invoice.exact_pico)}</td></tr>\n'
        f'<tr><td colspan="5">Left out by rounding each line once</td><td></td><td class="n">{usd(invoice.residue_pico)}</td></tr></tfoot>'
        "</table>\n"
        f"<p><small>{_proof(invoice)}</small></p>\n</body></html>\n"
    )


def pdf_of(invoice: Invoice) -> bytes:
    """The invoice as a PDF of plain text, in a font that every reader has."""
    lines = list(_text(invoice))
    pages = [lines[at : at + PAGE_LINES] for at in range(0, len(lines), PAGE_LINES)]
    return _pdf([_content(page) for page in pages])


def _cells(line: InvoiceLine) -> tuple[str, ...]:
    what = METERS[line.segment] if line.kind == "usage" else f"{line.kind} ({line.month}): {line.memo}"
    return line.project, line.model, line.tier or "", what, f"{line.quantity:,}", cents(line.amount_cents), usd(line.exact_pico)


def _class(at: int) -> str:
    return ' class="n"' if at >= 4 else ""


def _proof(invoice: Invoice) -> str:
    return (
        f"Made of {invoice.records:,} records; their Merkle root is {invoice.root}. The ledger's hash then: {invoice.chain}. "
        "headrace invoice verify computes both lines and root again."
    )


def _text(invoice: Invoice) -> Iterator[str]:
    yield f"Invoice {invoice.number}"
    yield f"{invoice.organization}   {invoice.month}   {invoice.currency}"
    yield ""
    yield _row(HEAD)
    yield "-" * 165
    for line in invoice.lines:
        yield _row(_cells(line))
    yield "-" * 165
    yield _row(("Total", "", "", "", "", invoice.total_usd, usd(invoice.exact_pico)))
    yield _row(("Left out by rounding", "", "", "", "", "", usd(invoice.residue_pico)))
    yield ""
    proof = _proof(invoice)
    yield from (proof[at : at + 150] for at in range(0, len(proof), 150))


def _row(cells: tuple[str, ...]) -> str:
    widths = (20, 32, 10, 44, 18, 14, 22)
    shown = (
        cell[:width].rjust(width) if at >= 4 else cell[:width].ljust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return " ".join(shown)


def _content(lines: list[str]) -> bytes:
    written = b"\n".join(b"(%b) '" % _escaped(line) for line in lines)
    return b"BT /F %d Tf %d TL 30 %d Td\n%b\nET" % (SIZE, SIZE + 1, HEIGHT - 25, written)


def _escaped(line: str) -> bytes:
    plain = line.encode("cp1252", "replace")
    return plain.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _pdf(contents: list[bytes]) -> bytes:
    """The smallest file that readers take: a catalogue, pages, one font, and where each object lies."""
    kids = b" ".join(b"%d 0 R" % (4 + 2 * at) for at in range(len(contents)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%b] /Count %d /MediaBox [0 0 %d %d] >>" % (kids, len(contents), WIDTH, HEIGHT),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>",
    ]
    for at, content in enumerate(contents):
        objects.append(b"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F 3 0 R >> >> /Contents %d 0 R >>" % (5 + 2 * at))
        objects.append(b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content))
    file, offsets = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        offsets.append(len(file))
        file += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return file + b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        size,
        table,
        size,
        len(file),
    )
