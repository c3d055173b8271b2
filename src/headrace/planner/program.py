"""A linear program as it is written down: columns with a cost, rows over them. Each is found again by its key."""

from collections.abc import Hashable, Iterable
from math import inf
from typing import Generic, TypeVar

Column = TypeVar("Column", bound=Hashable)
Row = TypeVar("Row", bound=Hashable)


class Program(Generic[Column, Row]):
    """Minimise the cost of the columns, each between its bounds, so that each row's sum is between its own."""

    def __init__(self) -> None:
        self.columns: dict[Column, int] = {}
        self.rows: dict[Row, int] = {}
        self.cost: list[float] = []
        self.lower: list[float] = []
        self.upper: list[float] = []
        self.whole: list[int] = []
        self.row_lower: list[float] = []
        self.row_upper: list[float] = []
        self.starts: list[int] = [0]
        self.indices: list[int] = []
        self.values: list[float] = []

    def column(self, key: Column, cost: float = 0.0, *, lower: float = 0.0, upper: float = inf, whole: bool = False) -> int:
        number = len(self.cost)
        assert key not in self.columns, f"two columns have the key {key}"
        self.columns[key] = number
        self.cost.append(cost)
        self.lower.append(lower)
        self.upper.append(upper)
        if whole:
            self.whole.append(number)
        return number

    def row(self, key: Row, terms: Iterable[tuple[int, float]], *, lower: float = -inf, upper: float = inf) -> int:
        number = len(self.row_lower)
        assert key not in self.rows, f"two rows have the key {key}"
        self.rows[key] = number
        for column, value in terms:
            if value:
                self.indices.append(column)
                self.values.append(value)
        self.starts.append(len(self.indices))
        self.row_lower.append(lower)
        self.row_upper.append(upper)
        return number
