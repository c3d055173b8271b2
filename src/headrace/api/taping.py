"""What is said into an exchange, kept beside it: for who asks again under the same key, and for who asks the same."""

from collections.abc import Callable
from typing import Any

from headrace.api.socket import Exchange
from headrace.storage import Answered


class Tape:
    """What was said, up to `bytes_max`."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.status, self.headers, self.streamed, self.done = 0, b"", False, False
        self.said: list[bytes] = []
        self.size = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= self._bytes_max:
            self.said.append(data)

    @property
    def answered(self) -> Answered | None:
        """All of it; None for what was cut, or is too long to keep."""
        if not self.done or self.size > self._bytes_max:
            return None
        return Answered(status=self.status, headers=self.headers, body=b"".join(self.said), streamed=self.streamed)


class Recorder:
    """An exchange that keeps what is said into it. All else it is asked is the exchange's own."""

    _inner: Exchange
    tape: Tape

    def __init__(self, exchange: Exchange, bytes_max: int) -> None:
        self.__dict__.update(_inner=exchange, tape=Tape(bytes_max))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._inner, name, value)

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        tape = self.tape
        tape.status, tape.headers, tape.done = status, headers, True
        tape.add(body)
        self._inner.answer(status, headers, body)

    def begin(self, headers: bytes) -> None:
        self.tape.status, self.tape.headers, self.tape.streamed = 200, headers, True
        self._inner.begin(headers)

    def express(self, closed: Callable[[], None]) -> None:
        """Nothing comes with its frame of HTTP about it, which is not part of what is said."""

    def write(self, data: bytes) -> None:
        self.tape.add(data)
        self._inner.write(data)

    def end(self, trailer: bytes = b"") -> None:
        self.tape.done = True
        self._inner.end(trailer)
