"""Who runs capacity: clouds that rent it, vendors that sell tokens, and the house's own."""

from datetime import date
from typing import Literal, TypeAlias

import msgspec

from headrace.portfolio.tables import read_tables, rows

CloudKind: TypeAlias = Literal["cloud", "vendor", "on-premises"]


class Cloud(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`operator_country` is the country under whose law the operator is (ISO 3166 alpha-2), wherever its machines stand. None: yours."""

    name: str
    title: str
    operator: str
    operator_country: str | None = None
    kind: CloudKind
    source: str
    as_of: date


def parse_clouds(text: str) -> tuple[Cloud, ...]:
    """The clouds of a TOML text, such as the shipped `clouds.toml`. Raises ValueError that says what is wrong, and in which row."""
    return rows(read_tables(text, "clouds", frozenset({"cloud"}))["cloud"], "clouds", Cloud)
