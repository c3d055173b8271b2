"""Media inside of a request: what a data URL holds."""

import re

import msgspec

_DATA_URL = re.compile(r"data:(?P<kind>[\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII | re.IGNORECASE)


class Media(msgspec.Struct, frozen=True):
    """`kind` is the media type, such as `image/png`; `base64` the content, still encoded."""

    kind: str
    base64: str


def media_of(url: str) -> Media | None:
    """The content of a base64 data URL; None for any other URL."""
    found = _DATA_URL.match(url)
    return Media(found["kind"].lower(), url[found.end() :]) if found else None
