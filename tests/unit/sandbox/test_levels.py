"""The ladder of levels, the proxy's decisions, and the filter's shape."""

import asyncio

import pytest

from headrace.core.errors import SandboxRefused
from headrace.sandbox import Level
from headrace.sandbox.egress import Reach, aim, checked_address
from headrace.sandbox.level import find_level
from headrace.sandbox.seccomp import program

TABLE = [
    # works  bwrap         Landlock  Linux   rung  says
    (True, "/usr/bin/bwrap", 7, True, 3, "bubblewrap, seccomp and Landlock (ABI 7)"),
    (True, "/usr/bin/bwrap", 1, True, 3, "level 3"),
    (False, "/usr/bin/bwrap", 7, True, 2, "can't make namespaces"),
    (False, None, 7, True, 2, "apt install bubblewrap"),
    (False, None, 5, True, 0, "no command is run"),
    (True, "/usr/bin/bwrap", 0, True, 0, "offers no Landlock"),
    (True, "/usr/bin/bwrap", 7, False, 0, "needs Linux"),
]


@pytest.mark.parametrize(("works", "bwrap", "abi", "linux", "rung", "says"), TABLE)
def test_the_ladder(works, bwrap, abi, linux, rung, says):
    found = find_level(works, bwrap, abi, linux=linux)
    assert isinstance(found, Level)
    assert found.rung == rung
    assert says in found.says


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_filter_is_whole_and_stricter_without_namespaces(machine):
    confined, bare = program(machine), program(machine, confined=False)
    assert confined is not None
    assert bare is not None
    assert len(confined) % 8 == len(bare) % 8 == 0
    assert confined != bare


def test_an_unknown_machine_has_no_filter():
    assert program("z80") is None


REACH = Reach(frozenset(("good.example", "inner.example", "nowhere.example")))


async def lookup(host: str, port: int) -> list[str]:
    if host == "nowhere.example":
        raise OSError("no such name")
    return {"good.example": ["93.184.216.34"], "inner.example": ["93.184.216.34", "10.0.0.1"]}[host.casefold()]


@pytest.mark.parametrize(
    ("host", "port", "found"),
    [
        ("good.example", 443, "93.184.216.34"),
        ("GOOD.example", 80, "93.184.216.34"),
        ("evil.example", 443, "not among the hosts"),
        ("good.example", 25, "Port 25 is not open"),
        ("inner.example", 443, "10.0.0.1, which is no address of the internet"),
        ("nowhere.example", 443, "has no address"),
    ],
)
def test_what_the_proxy_reaches(host, port, found):
    try:
        assert asyncio.run(checked_address(host, port, REACH, lookup)) == found
    except SandboxRefused as refused:
        assert found in str(refused)  # noqa: PT017 either is an answer of the table


@pytest.mark.parametrize("host", ["a..b", "ü" * 64 + ".example"])
def test_what_no_name_can_be_has_no_address(host):
    with pytest.raises(SandboxRefused, match="has no address"):
        asyncio.run(checked_address(host, 443, Reach(frozenset((host,)))))


@pytest.mark.parametrize(
    ("method", "target", "found"),
    [
        (b"CONNECT", "a.example:443", ("a.example", 443, None)),
        (b"CONNECT", "[2606::1]:443", ("2606::1", 443, None)),
        (b"GET", "http://a.example/x?y", ("a.example", 80, "/x?y")),
        (b"GET", "http://u:p@a.example:8080", ("a.example", 8080, "/")),
    ],
)
def test_where_a_request_aims(method, target, found):
    assert aim(method, target) == found


@pytest.mark.parametrize(("method", "target"), [(b"GET", "ftp://a.example/"), (b"GET", "/x"), (b"CONNECT", "a.example:ssh")])
def test_what_is_no_request(method, target):
    with pytest.raises(SandboxRefused):
        aim(method, target)
