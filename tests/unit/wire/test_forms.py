"""Forms: what was read is what is written, whatever stands in it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import InvalidRequest
from headrace.core.native import Part
from headrace.wire.forms import BOUNDARY, PARTS_MAX, is_form, read_form, written

KIND = b"multipart/form-data; boundary=x"


def test_a_form_by_its_content_type() -> None:
    assert is_form(b"Multipart/Form-Data; boundary=x")
    assert not is_form(b"application/json")


def test_parts() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nnano\r\n'
        b'--x\r\ncontent-type: image/png\r\ncontent-disposition: form-data; name="image[]"; filename="a.png"\r\n\r\n\x00\r\n--y\r\n'
        b'--x\r\ncontent-type: no kind\r\ncontent-disposition: form-data; name="image[]"; filename=""\r\n\r\n\r\n--x--\r\n'
    )
    assert read_form(KIND, body) == (
        Part(name="model", data=b"nano"),
        Part(name="image[]", data=b"\x00\r\n--y", filename="a.png", kind="image/png"),
        Part(name="image[]", data=b"", filename=""),
    )


WRONG = [
    (b"multipart/form-data", b"", "boundary"),
    (KIND, b"", "does not end"),
    (KIND, b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nhalf', "does not end"),
    (KIND, b"nothing of the kind", "can't be read"),
    (KIND, b"--x\r\n\r\nno name\r\n--x--\r\n", "no name"),
    (KIND, b'--x\r\ncontent-disposition: attachment; name="a"\r\n\r\n1\r\n--x--\r\n', "no name"),
    (KIND, b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n' * (PARTS_MAX + 1) + b"--x--\r\n", "more than"),
]


@pytest.mark.parametrize(("kind", "body", "words"), WRONG)
def test_what_is_no_form(kind: bytes, body: bytes, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read_form(kind, body)


names = st.text(st.characters(exclude_characters='\r\n"\\', exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
parts = st.builds(Part, name=names, data=st.binary(max_size=200), filename=st.none() | names, kind=st.none() | st.just("image/png"))


@given(st.lists(parts, min_size=1, max_size=8))
def test_what_is_written_is_read(given: list[Part]) -> None:
    kind, body = written(given)
    assert read_form(kind.encode(), body) == tuple(given)


@given(st.binary(max_size=300), st.sampled_from([KIND, b"multipart/form-data; boundary=--x", b'multipart/form-data; boundary="a b"']))
def test_whatever_comes_is_read_or_refused(body: bytes, kind: bytes) -> None:
    with suppress(InvalidRequest):
        assert read_form(kind, body) is not None


def test_no_part_ends_a_form() -> None:
    parts = [Part(name="a", data=b"\r\n--" + BOUNDARY + b"--\r\n"), Part(name='x"\r\ny: z', data=b"1", filename='"\r\n')]
    kind, body = written(parts)
    first, second = read_form(kind.encode(), body)
    assert first == parts[0]
    assert (second.name, second.filename, second.data) == ("x%22%0D%0Ay: z", "%22%0D%0A", b"1")
