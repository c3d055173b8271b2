"""What of a chat request is ours and not the upstream's: a cap on the answer's length is put in, `max_cost` is taken out."""

import re
from collections.abc import Collection

import msgspec

from headrace.wire.elision import SHORT, without_texts
from headrace.wire.openai_chat import read

_members, _tools = msgspec.json.Decoder(dict[str, msgspec.Raw]), msgspec.json.Decoder(list[msgspec.Raw])
_PICTURE = re.compile(rb'"image_url"\s*:\s*\{\s*(?:"detail"\s*:\s*"\w*"\s*,\s*)?"url"\s*:\s*"')
"""In a text it would have backslashes before its quotes."""
_DATA = re.compile(rb"data:image/[\w.+-]+;base64,")
NAMES = ("max_completion_tokens", "max_tokens")


def images_in(body: bytes) -> int:
    """How many images stand in it, at most. A part need not say its type: some engines know it by its member."""
    named = [mark for mark in _marks(body) if mark.startswith(b'"image_url"')]
    members = sum(mark.endswith(b":") for mark in named)
    return max(members, len(named) - members)


def pictures_bytes(body: bytes, messages: bytes) -> int:
    """How many bytes of it are pictures that stand in its messages as data: these are no tokens of text. `messages` may be without their
    long texts. Where what looks like one stands elsewhere too, none is counted, so that nobody calls a text a picture."""
    if len(body) < SHORT or b'"image_url"' not in messages:
        return 0
    found = list(_PICTURE.finditer(body))
    if len(found) != len(_PICTURE.findall(messages)):
        return 0
    begun = (_DATA.match(body, one.end()) for one in found)
    return sum(body.find(b'"', data.end()) - data.end() for data in begun if data is not None)


def with_tokens_out_max(body: bytes, tokens: int) -> bytes:
    """The request with an answer of at most so many tokens a choice, under the name that its client used."""
    if b'"max_' not in without_texts(body):
        return body.rstrip()[:-1] + b',"max_completion_tokens":%d}' % tokens
    members = read(_members, body)
    named = [name for name in NAMES if name in members and bytes(members[name]) != b"null"]
    for name in named or NAMES[:1]:
        members[name] = msgspec.Raw(b"%d" % tokens)
    return msgspec.json.encode(members)


def native_with_tokens_out_max(body: bytes, dialect: str, tokens: int) -> bytes:
    """The same for a request in its client's own dialect, which names the length of its one answer otherwise."""
    members = read(_members, body)
    members["max_output_tokens" if dialect == "responses" else "max_tokens"] = msgspec.Raw(b"%d" % tokens)
    return msgspec.json.encode(members)


def without_tools(body: bytes, paths: Collection[str], form: str) -> bytes:
    """The request without those of its tools whose paths are named, as `form` writes them: `tools[{}]`."""
    members = read(_members, body)
    tools = read(_tools, bytes(members["tools"]))
    members["tools"] = msgspec.Raw(msgspec.json.encode([tool for at, tool in enumerate(tools) if form.format(at) not in paths]))
    return msgspec.json.encode(members)


def open_ended(body: bytes) -> str | None:
    """Why nobody can say what a chat costs at most; None: its length bounds it."""
    marks = _marks(body)
    if b'"web_search_options"' in marks:
        return "the vendor searches the web for it ('web_search_options')."
    if any(mark.startswith(b'"file_id"') for mark in marks):
        return "only the vendor has the files that were uploaded to it ('file_id')."
    return None


def unmeasured_files(body: bytes) -> bool:
    """Whether files stand in it of which nobody knows by their length how many tokens they come to: a small PDF may have many pages, and
    a video or a recording is an address, or frames that hardly differ."""
    marks = _marks(body)
    files = sum(mark.startswith(b'"file_data"') for mark in marks)
    return any(b"o_url" in mark for mark in marks) or (files > 0 and len(_TEXT_FILE.findall(body)) < files)


_MARK = re.compile(
    rb'"image_url"(?:\s*:)?|"web_search_options"|"file_(?:id|data)"\s*:\s*"'
    rb'|"(?:video|audio)_url"\s*:\s*"|"type"\s*:\s*"(?:video|audio)_url"'
)
"""A file is a text: where the name stands before anything else, it is a parameter of a tool."""
_TEXT_FILE = re.compile(rb'"file_data"\s*:\s*"data:text/[\w.+-]+;base64,(?!JVBE|UEs)(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2,3}={1,2}"|")')
"""A text, and not what begins as PDFs and zipped documents do, however that is written: a vendor may look into it and not believe its
kind."""
_latest: tuple[bytes, list[bytes]] = b"", []
"""A memo of one: a request is asked for its images, and then for what else is not billed by its length."""


def _marks(body: bytes) -> list[bytes]:
    """The names of what its length does not bound, as often as each stands in it."""
    global _latest
    latest = _latest
    if latest[0] is not body:
        latest = _latest = body, _MARK.findall(_plainly(without_texts(body)))
    return latest[1]


_ESCAPED = re.compile(rb"\\u00(?!22|5[cC])([2-7][0-9a-fA-F])")


def _plainly(body: bytes) -> bytes:
    """With names spelled as they read: `file\\u005fid` names the same member. What ends a text, or escapes, stays as it is."""
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), body) if b"\\u00" in body else body


def without_max_cost(body: bytes) -> bytes:
    """The request without the member that only we read, byte for byte as it came where it has none."""
    if b'"max_cost"' not in body:
        return body
    members = read(_members, body)
    members.pop("max_cost", None)
    return msgspec.json.encode(members)
