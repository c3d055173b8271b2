"""A line of a batch's output."""

import json

from headrace.api.lines import Line, line_answer


def test_it_is_one_line_however_the_upstream_writes() -> None:
    body = {"choices": [{"message": {"content": "two\nlines"}}]}
    told = line_answer(Line(200, "req_1", json.dumps(body, indent=2).replace("\n", "\r\n").encode()))
    assert b"\n" not in told
    assert json.loads(told) == {"response": {"status_code": 200, "request_id": "req_1", "body": body}, "error": None}
