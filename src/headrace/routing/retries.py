"""How much may be tried again: a share of what is asked, so that retries never multiply an overload."""


class RetryBudget:
    """Each request earns `share` of a retry, each retry spends one, and no more than `saved_max` are saved up: all of them are there at
    the start, unless nothing is ever earned or `saved` says how many."""

    __slots__ = ("_saved", "_saved_max", "_share")

    def __init__(self, share: float, saved_max: float = 100.0, *, saved: float | None = None) -> None:
        if share < 0 or saved_max < 0:
            raise ValueError("a share of retries, and how many are saved up, are 0 or more")
        self._share, self._saved_max = share, saved_max
        self._saved = (saved_max if saved is None else saved) if share else 0.0

    def earn(self) -> None:
        """A request has come."""
        saved = self._saved + self._share
        self._saved = saved if saved < self._saved_max else self._saved_max

    def spend(self) -> bool:
        """Whether one more may be tried; it is spent then."""
        if self._saved < 1:
            return False
        self._saved -= 1
        return True
