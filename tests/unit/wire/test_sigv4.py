"""Signature Version 4: AWS's published examples, and what an AWS SDK signs for the same calls of Bedrock."""

import pytest

from headrace.testing.clock import NOON
from headrace.wire.bedrock import path_for
from headrace.wire.sigv4 import Credentials, Unsigned, authorization, canonical_request, sha256_hex, signed, signing_key, timestamp

# Credentials, date and scope of AWS's signing test suite (github.com/awslabs/aws-c-auth, tests/aws-signing-test-suite/v4).
AWS = Credentials(access_key_id="AKIDEXAMPLE", secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
STAMP = "20150830T123600Z"
DATED = (("Host", "example.amazonaws.com"), ("X-Amz-Date", STAMP))
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
FORM = b"Param1=value1"
FORM_HEADERS = (
    ("Content-Type", "application/x-www-form-urlencoded"),
    ("Content-Length", "13"),
    ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
)
VALUES = (("Param2", "value2"), ("Param1", "value1"))
ENCODED = (("Param-3", "Value3"), ("Param", "Value2"), ("\u1234", "Value1"))
TWICE = (("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1"))
SPACED = (("My-Header1", " value1"), ("My-Header2", ' "a   b   c"'))

SUITE = [
    # its name, its signature, and what is signed: method, path, query, headers beside, body
    ("get-vanilla", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", "GET", "/", (), (), b""),
    ("get-utf8", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85", "GET", "/\u1234", (), (), b""),
    ("get-space-unnormalized", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741", "GET", "/example space/", (), (), b""),
    ("get-unreserved", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f", "GET", f"/{UNRESERVED}", (), (), b""),
    ("get-vanilla-query-order", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500", "GET", "/", VALUES, (), b""),
    ("get-query-order-encoded", "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac", "GET", "/", ENCODED, (), b""),
    ("get-header-value-trim", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736", "GET", "/", (), SPACED, b""),
    ("get-header-key-duplicate", "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea", "GET", "/", (), TWICE, b""),
    ("post-x-www-form-urlencoded", "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b", "POST", "/", (), FORM_HEADERS, FORM),
    (
        "get-vanilla-with-session-token",
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        "GET",
        "/",
        (),
        (("X-Amz-Security-Token", TOKEN),),
        b"",
    ),
]


@pytest.mark.parametrize(("name", "signature", "method", "path", "query", "headers", "body"), SUITE, ids=[row[0] for row in SUITE])
def test_the_published_suite(name, signature, method, path, query, headers, body):
    request = Unsigned(method=method, path=path, headers=(*DATED, *headers), body_sha256=sha256_hex(body), query=query)
    said = authorization(request, AWS, region="us-east-1", service="service", stamp=STAMP)
    assert said.rpartition("Signature=")[2] == signature
    assert said.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=")


def test_the_worked_example_step_by_step():
    """AWS's own walk through a signature, with the result of each step: `ListUsers` of IAM."""
    request = Unsigned(
        method="GET",
        path="/",
        headers=(
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", STAMP),
        ),
        body_sha256=sha256_hex(b""),
        query=(("Action", "ListUsers"), ("Version", "2010-05-08")),
    )
    assert sha256_hex(canonical_request(request).encode()) == "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
    key = signing_key(AWS.secret_access_key, "20150830", "us-east-1", "iam")
    assert key.hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    assert authorization(request, AWS, region="us-east-1", service="iam", stamp=STAMP) == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
PROFILE = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123def456"
LENT = "IQoJb3JpZ2luX2VjEXAMPLE//token=="
ASKED = b'{"messages": [{"role": "user", "content": [{"text": "hi"}]}]}'

SDK = [
    # model   session's token   the signature of botocore 1.44.5 for converse_stream in eu-central-1
    (CLAUDE, None, "24cace1296b0bbb7e93a7f973a388f995c16ff7b9a1e973ec69aed5ebc17c457"),
    (PROFILE, None, "408f88dce714ce8299625ba5a424e1f93119ac594f912c78b899a7cccc3b25ff"),
    (CLAUDE, LENT, "30dda4dcfe63f258214bd9782bf7180aab0dc36dd9e20ead6c16e156acfaf375"),
    (PROFILE, LENT, "b05d92dc4c6924ed8cfc97bf2f23839930a8ffd1a72d6b9375e01800c092483f"),
]


@pytest.mark.parametrize(("model", "token", "signature"), SDK)
def test_an_sdk_signs_the_same_for_models_with_colons_and_slashes(model, token, signature):
    headers = [
        ("content-type", "application/json"),
        ("host", "bedrock-runtime.eu-central-1.amazonaws.com"),
        ("x-amz-date", timestamp(NOON)),
    ]
    if token is not None:
        headers.append(("x-amz-security-token", token))
    request = Unsigned(method="POST", path=path_for(model), headers=tuple(headers), body_sha256=sha256_hex(ASKED))
    said = authorization(request, AWS, region="eu-central-1", service="bedrock", stamp=timestamp(NOON))
    assert said.rpartition("Signature=")[2] == signature


def test_what_is_sent_is_what_is_signed():
    """The same headers, signed by botocore 1.44.5 with the body's hash among them."""
    host, body = "bedrock-runtime.eu-central-1.amazonaws.com", b'{"a":1}'
    headers = (("host", host), ("content-type", "application/json"), ("accept", "application/vnd.amazon.eventstream"))
    unsigned = Unsigned(method="POST", path=path_for("amazon.nova-lite-v1:0"), headers=headers, body_sha256=sha256_hex(body))
    lent = Credentials(access_key_id="AKIDEXAMPLE", secret_access_key="SECRET", session_token="TOKEN")
    sent = signed(unsigned, lent, region="eu-central-1", service="bedrock", at=NOON)
    assert sent == (
        *headers,
        ("x-amz-date", "20261118T120000Z"),
        ("x-amz-content-sha256", sha256_hex(body)),
        ("x-amz-security-token", "TOKEN"),
        (
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261118/eu-central-1/bedrock/aws4_request, "
            "SignedHeaders=accept;content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token, "
            "Signature=30b85a9fc962a47ee53ecaa690a295c76eaad0be6876e975d3effccf4801f582",
        ),
    )
    own = signed(unsigned, AWS, region="eu-central-1", service="bedrock", at=NOON)
    assert [name for name, _ in own] == [name for name, _ in sent if name != "x-amz-security-token"]


def test_a_secret_is_never_shown():
    assert "SECRET" not in repr(Credentials(access_key_id="A", secret_access_key="SECRET", session_token="SECRET"))
