"""A table as HTML."""

from html import escape

from headrace.core.shown import News, ShownCell, ShownTable


def html_table(table: ShownTable) -> str:
    """Its columns and rows, without the title: columns of numbers have the class `n`, news `good` or `bad`."""
    kinds = ["n" if at in table.numbers else "" for at in range(len(table.columns))]
    head = "".join(f'<th class="{kind}">{escape(column)}</th>' for column, kind in zip(table.columns, kinds, strict=True))
    body = "".join(f"<tr>{''.join(_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True))}</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: ShownCell, kind: str) -> str:
    if isinstance(cell, News):
        return f'<td class="{kind} {"good" if cell.good else "bad"}">{escape(cell.text)}</td>'
    return f'<td class="{kind}">{escape(cell)}</td>'
