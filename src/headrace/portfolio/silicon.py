"""What computes: accelerators by their ids, the shipped ones and those that an operator defines."""

import re
from collections.abc import Mapping
from datetime import date

import msgspec

from headrace.portfolio.tables import read_tables, rows

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Silicon(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One kind of accelerator: one chip, module or system, whichever is counted as one in a contract.

    `memory_gb` is what holds weights and cache, in gigabytes as its vendor counts them. `power_w` is the most that it draws itself,
    `all_in_kw` with its share of host, network and cooling. `tokens_per_s` is an operator's own estimate of what one serves, of prompts
    and answers together at 8,192 tokens in and 1,024 out: of any model, or by model.
    """

    name: str
    title: str = ""
    vendor: str = "custom"
    memory_gb: float | None = None
    memory_bandwidth_tb_s: float | None = None
    power_w: float | None = None
    all_in_kw: float | None = None
    tokens_per_s: float | Mapping[str, float] | None = None
    source: str = "the settings"
    as_of: date | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} can't name silicon: use lower-case letters, digits, `.`, `_` and `-`, at most 64")
        rates = self.tokens_per_s
        figures = {
            "memory_gb": self.memory_gb,
            "memory_bandwidth_tb_s": self.memory_bandwidth_tb_s,
            "power_w": self.power_w,
            "all_in_kw": self.all_in_kw,
            **(
                {f"tokens_per_s of {model}": rate for model, rate in rates.items()}
                if isinstance(rates, Mapping)
                else {"tokens_per_s": rates}
            ),
        }
        for what, figure in figures.items():
            if figure is not None and not 0 < figure < float("inf"):
                raise ValueError(f"{self.name}: {what} must be above zero")


def parse_silicon(text: str) -> tuple[Silicon, ...]:
    """The silicon of a TOML text, such as the shipped `silicon.toml`. Raises ValueError that says what is wrong, and in which row."""
    return rows(read_tables(text, "silicon", frozenset({"silicon"}))["silicon"], "silicon", Silicon)
