"""Who stands between an adapter and its hearer, and wants events: an answer in bytes of OpenAI's dialect is read first."""

from headrace.core.stream import Said, Used, Verbatim
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.providers.provider import Gate, Hearer, Tap
from headrace.wire.openai_said import ChatReader


class Between:
    """Hears an adapter for `hearer`. Each event of the answer goes through `event`, which passes it on unless a subclass does otherwise;
    `end` must be called when the adapter has said all."""

    def __init__(self, hearer: Hearer, stream: bool) -> None:
        self._hearer, self._stream = hearer, stream
        self._reader = ChatReader()
        self._used: Used | None = None
        self._begun = False

    @property
    def verbatim(self) -> Tap | None:
        """Where bytes may go unread: nowhere."""
        return None

    @verbatim.setter
    def verbatim(self, tap: Tap | None) -> None:
        """Who hears says where bytes go, not who speaks."""

    @property
    def usage(self) -> Usage | None:
        return self._hearer.usage

    @usage.setter
    def usage(self, usage: Usage | None) -> None:
        self._hearer.usage = usage

    @property
    def usage_likely(self) -> Usage | None:
        return self._hearer.usage_likely

    @usage_likely.setter
    def usage_likely(self, usage: Usage | None) -> None:
        self._hearer.usage_likely = usage

    @property
    def gate(self) -> Gate:
        return self._hearer.gate

    def translated(self, changes: tuple[Change, ...]) -> None:
        self._hearer.translated(changes)

    def event(self, said: Said) -> None:
        self._hearer.hear(said)

    def hear(self, said: Said) -> None:
        if isinstance(said, Verbatim):
            for one in self._reader.frames(said.data) if self._stream else self._reader.whole(said.data):
                self.event(one)
            self.end()
        elif isinstance(said, Used) and not self._stream and not self._begun:
            self._used = said  # an unstreamed answer in bytes may follow it, and what it says comes before
            self._hearer.usage = said.usage or self._hearer.usage
        else:
            self._begun = True
            self.event(said)

    def end(self) -> None:
        """The adapter has said all: what it used is told, if that waited for an answer in bytes."""
        used, self._used = self._used, None
        if used is not None:
            self.event(used)
