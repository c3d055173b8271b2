"""A cap that is put into a request, and a member of ours that is taken out of it."""

import json

import pytest

from headrace.wire.openai_caps import (
    images_in,
    native_with_tokens_out_max,
    open_ended,
    pictures_bytes,
    unmeasured_files,
    with_tokens_out_max,
    without_max_cost,
)
from headrace.wire.openai_chat import read_head

TABLE = [
    (b'{"model":"m"}', {"model": "m", "max_completion_tokens": 9}),
    (b' {"model":"m"} \n', {"model": "m", "max_completion_tokens": 9}),
    (b'{"model":"m","max_tokens":50}', {"model": "m", "max_tokens": 9}),
    (b'{"model":"m","max_completion_tokens":50,"max_tokens":60}', {"model": "m", "max_completion_tokens": 9, "max_tokens": 9}),
    (b'{"model":"m","max_tokens":null}', {"model": "m", "max_tokens": None, "max_completion_tokens": 9}),
    (b'{"model":"say \\"max_ it"}', {"model": 'say "max_ it', "max_completion_tokens": 9}),
]


@pytest.mark.parametrize(("body", "capped"), TABLE)
def test_the_cap_goes_under_the_name_that_the_client_used(body: bytes, capped: dict[str, object]):
    assert json.loads(with_tokens_out_max(body, 9)) == capped


def test_what_only_we_read_is_taken_out():
    assert json.loads(without_max_cost(b'{"model":"m","max_cost":"0.5","n":1}')) == {"model": "m", "n": 1}
    assert json.loads(without_max_cost(b'{"model":"m"}')) == {"model": "m"}


PICTURE = "data:image/png;base64," + "QUFB" * 4_000


@pytest.mark.parametrize(
    ("parts", "tools", "counted"),
    [
        ([{"type": "image_url", "image_url": {"url": PICTURE}}], [], 16_000),
        ([{"type": "image_url", "image_url": {"detail": "low", "url": PICTURE}}, {"type": "text", "text": PICTURE}], [], 16_000),
        ([{"type": "text", "text": json.dumps({"image_url": {"url": PICTURE}})}], [], 0),
        ([{"type": "image_url", "image_url": {"url": "https://example.org/" + "a" * 9_000}}], [], 0),
        ([{"type": "image_url", "image_url": {"url": PICTURE}}], [{"image_url": {"url": PICTURE}}], 0),
    ],
)
def test_a_picture_is_no_text_and_a_text_no_picture(parts: list[object], tools: list[object], counted: int):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}], "tools": tools}).encode()
    assert pictures_bytes(body, bytes(read_head(body).messages)) == counted


MARKS = [
    # the body                                                                          images, the length bounds it
    (b'{"messages":[{"content":[{"type":"image_url","image_url":{"url":"u"}}]}]}', 1, True),
    (rb'{"messages":[{"content":[{"type":"image\u005furl","\u0069mage_ur\u006C":{"url":"u"}}]}]}', 1, True),
    (b'{"messages":[{"content":[{"image_url":"u"},{"type":"input_image","image_url" : "u"}]}]}', 2, True),
    (b'{"messages":[{"content":[{"type":"image_url","uuid":"u"}]}]}', 1, True),
    (b'{"messages":[{"content":[{"type":"file","file":{"file_id":"f"}}]}]}', 0, False),
    (rb'{"messages":[{"content":[{"type":"file","file":{"file\u005fid":"f"}}]}]}', 0, False),
    (b'{"tools":[{"parameters":{"properties":{"file_id":{"type":"string"}},"required":["file_id"]}}]}', 0, True),
    (rb'{"web_search\u005foptions":{},"messages":[{"content":"lone \ud800"}]}', 0, False),
    (rb'{"messages":[{"content":"say \"image_url\" and \u0022file_id\u0022 and \\\u0022file_id\u0022"}]}', 0, True),
]


@pytest.mark.parametrize(("body", "images", "bounded"), MARKS)
def test_what_its_length_does_not_bound_is_found_however_its_name_is_written(body: bytes, images: int, bounded: bool):
    assert (images_in(body), open_ended(body) is None) == (images, bounded)


FILES = [
    # the body's file, and whether its bytes say nothing of its tokens
    (b'{"file_data":"data:application/pdf;base64,JVBERi0x"}', True),
    (b'{"file_data":"data:text/plain;base64,aGk="}', False),
    (b'{"file_data": "data:text/x-python;base64,aGk="}', False),
    (b'{"file_data":"data:text/plain;base64,JVBERi0x"}', True),
    (b'{"file_data":"data:text/plain;base64,UEsDBA=="}', True),
    (rb'{"file\u005fdata":"data:application/pdf;base64,JVBERi0x"}', True),
    (rb'{"file_data":"data:text/plain;base64,aGk=","file\u005fdata":"data:application/pdf;base64,JVBERi0x"}', True),
    (b'{"file_data":"JVBERi0x"}', True),
    (rb'{"file_data":"data:text/plain;base64,\u004aVBERi0x"}', True),
    (rb'{"file_data":"data:text/plain;base64,JVBE\u0052i0x"}', True),
    (b'{"file_data":"data:text/plain;base64,!JVBERi0x"}', True),
    (b'{"file_data":"data:text/plain;base64,=JVBERi0x"}', True),
    (b'{"file_data":"data:text/plain;base64,JV=BERi0x"}', True),
    (b'{"file_data":"data:text/plain;base64,aA=="}', False),
    (b'{"file_data":"data:text/plain;base64,"}', False),
]


@pytest.mark.parametrize(("file", "unmeasured"), FILES)
def test_files_whose_tokens_nobody_knows_by_their_length(file: bytes, unmeasured: bool):
    body = b'{"messages":[{"content":[{"type":"file","file":%b}]}]}' % file
    assert unmeasured_files(body) is unmeasured
    said = json.dumps({"messages": [{"content": file.decode()}]}).encode()
    assert not unmeasured_files(said), "to speak of a file is to send none"


SHOWN = [
    # a part, or a tool, and whether its bytes say nothing of its tokens
    (b'{"type":"video_url","video_url":{"url":"https://x/y.mp4"}}', True),
    (b'{"type":"audio_url","audio_url":{"url":"data:audio/ogg;base64,AAAA"}}', True),
    (b'{"video_url":"https://x/y.mp4"}', True),
    (rb'{"t\u0079pe":"video\u005furl"}', True),
    (b'{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}', False),
    (b'{"properties":{"video_url":{"type":"string"},"file_data":{"type":"string"}},"required":["video_url","file_data"]}', False),
]


@pytest.mark.parametrize(("part", "unmeasured"), SHOWN)
def test_a_video_may_be_of_any_length_and_a_parameter_of_that_name_is_none(part: bytes, unmeasured: bool):
    assert unmeasured_files(b'{"messages":[{"content":[%b]}]}' % part) is unmeasured


NATIVE = [
    ("responses", b'{"model":"m","input":"hi"}', {"model": "m", "input": "hi", "max_output_tokens": 9}),
    ("responses", b'{"model":"m","max_output_tokens":50}', {"model": "m", "max_output_tokens": 9}),
    ("messages", b'{"model":"m","max_tokens":50}', {"model": "m", "max_tokens": 9}),
]


@pytest.mark.parametrize(("dialect", "body", "capped"), NATIVE)
def test_other_dialects_name_the_length_otherwise(dialect: str, body: bytes, capped: dict[str, object]):
    assert json.loads(native_with_tokens_out_max(body, dialect, 9)) == capped
