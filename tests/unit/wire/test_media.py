"""Data URLs: what they hold, and what is none."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.wire.media import Media, media_of

HELD = [
    ("data:image/png;base64,aGk=", Media("image/png", "aGk=")),
    ("data:image/PNG;base64,aGk=", Media("image/png", "aGk=")),
    ("data:audio/wav;base64,", Media("audio/wav", "")),
    ("data:text/plain;charset=utf-8;base64,aGk=", Media("text/plain", "aGk=")),
    ("data:application/vnd.ms-excel;base64,aGk=", Media("application/vnd.ms-excel", "aGk=")),
    ("data:image/svg+xml;base64,aGk=", Media("image/svg+xml", "aGk=")),
    ("DATA:image/png;BASE64,aGk=", Media("image/png", "aGk=")),
]


@pytest.mark.parametrize(("url", "media"), HELD)
def test_what_a_data_url_holds(url, media):
    assert media_of(url) == media


NONE = [
    "",
    "https://example.com/a.png",
    "https://example.com/?data:image/png;base64,aGk=",
    "data:image/png,aGk=",
    "data:;base64,aGk=",
    "data:image;base64,aGk=",
    "data:image/png;base64",
    " data:image/png;base64,aGk=",
    "data:imäge/png;base64,aGk=",
    "data:image/png;charset=;base64,aGk=",
]


@pytest.mark.parametrize("url", NONE)
def test_what_is_no_data_url(url):
    assert media_of(url) is None


@given(content=st.binary(max_size=200), kind=st.sampled_from(["image/png", "audio/mpeg", "application/pdf"]))
def test_what_is_put_in_comes_out(content: bytes, kind: str):
    media = media_of(f"data:{kind};base64,{base64.b64encode(content).decode()}")
    assert media is not None
    assert (media.kind, base64.b64decode(media.base64)) == (kind, content)
