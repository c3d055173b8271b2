"""Requests made to fit servers that speak OpenAI's dialect with fewer words, or others: nothing is changed in silence."""

from collections.abc import Mapping

import msgspec

from headrace.core.translation import Change
from headrace.wire.openai_chat import read

WHAT_ALL_TAKE = frozenset({"model", "messages", "input", "stream"})

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Fitting:
    """What the servers of one pool don't take of the dialect: members of the request that have another name there (`rename`), and those
    that they refuse or misread (`drops`). Only top-level members; raises ValueError for the few that every request is made of."""

    def __init__(self, rename: Mapping[str, str], drops: frozenset[str]) -> None:
        renamed = {*rename, *rename.values()}
        if wrong := sorted((renamed | drops) & WHAT_ALL_TAKE):
            raise ValueError(f"{', '.join(wrong)} can be neither renamed nor dropped: every request is made of it")
        if wrong := sorted(renamed & drops):
            raise ValueError(f"{', '.join(wrong)} is renamed and dropped: choose one")
        self._rename, self._drops = dict(rename), drops
        self._marks = [msgspec.json.encode(name) for name in sorted({*rename, *drops})]
        self.asks_usage = "stream_options" not in drops
        """Whether a stream may be asked to tell usage."""

    def fit(self, body: bytes) -> tuple[bytes, tuple[Change, ...]]:
        """The request as such servers take it, and what was changed for that. What is null was not asked, so it goes without a word.

        Raises InvalidJson for a member's name that is no text.
        """
        if b"\\u" not in body and not any(mark in body for mark in self._marks):
            return body, ()
        members = read(_members, body)
        asked = {name for name, value in members.items() if bytes(value) != b"null"}
        sources = self._sources(asked)
        fitted: dict[str, msgspec.Raw] = {}
        changes: list[Change] = []
        for name, value in members.items():
            its = self._rename.get(name, name)
            if name not in asked and (name in self._drops or name in self._rename or name in sources):
                continue
            if name in self._drops:
                changes.append(Change("dropped", name, "the pool does not take it"))
            elif (source := sources.get(its, name)) != name:
                changes.append(Change("dropped", name, f"{source} says the same"))
            else:
                fitted[its] = value
                if its != name:
                    changes.append(Change("changed", name, f"the pool calls it {its}"))
        if len(fitted) == len(members) and not changes:
            return body, ()
        return msgspec.json.encode(fitted), tuple(changes)

    def _sources(self, asked: set[str]) -> dict[str, str]:
        """Of each name there: which of ours is meant by it, where several are asked the one that is named first."""
        sources: dict[str, str] = {}
        for ours, its in self._rename.items():
            if ours in asked:
                sources.setdefault(its, ours)
        return sources
