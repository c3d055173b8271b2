"""What runs inside, before the command: limits, Landlock, the filter where nobody else has set it, and the bridge to the egress proxy.

It is run as a script of its own by the machine's Python, isolated, so it imports the standard library only and nothing of headrace. A step
that fails ends it: a command is never started with less than what was asked for.
"""

import contextlib
import ctypes
import json
import os
import resource
import socket
import struct
import sys
import threading

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_FILTER = 38, 22, 2
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
READ, WRITE_V1, REFER, TRUNCATE, IOCTL = 0x000D, 0x1FF2, 1 << 13, 1 << 14, 1 << 15
SCOPE_ALL = 3
CHUNK = 65_536


def main() -> None:
    told = json.loads(sys.argv[1])
    for name, limit in told["limits"].items():
        resource.setrlimit(getattr(resource, name), (limit, limit))
    os.umask(0o077)
    if told["proxy"]:
        bridge(told["proxy"], told["port"])
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if told.get("program"):  # a browser, which confines itself further
        os.execv(told["program"][0], [*told["program"], *sys.argv[2:]])  # noqa: S606 by a line of ours
    folder = os.open(told["folder"], os.O_PATH)
    landlock(libc, told["landlock"]["read"], told["landlock"]["write"], told["landlock"]["abi"])
    if told["user"]:
        os.setgroups([])
        os.setgid(told["user"])
        os.setuid(told["user"])
    seccomp(libc, bytes.fromhex(told["seccomp"]))
    os.fchdir(folder)
    os.close(folder)
    os.execv("/bin/sh", ["/bin/sh", "-c", told["command"]])  # noqa: S606 the shell is the command, and it is confined by now


def landlock(libc: ctypes.CDLL, read: list[str], write: list[str], abi: int) -> None:
    """Files: only these. From ABI 6 on, no signal or abstract socket leaves either."""
    handled = READ | WRITE_V1 | (REFER if abi >= 2 else 0) | (TRUNCATE if abi >= 3 else 0) | (IOCTL if abi >= 5 else 0)
    attributes = struct.pack("=QQQ", handled, 0, SCOPE_ALL)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    rules = libc.syscall(LANDLOCK_CREATE, attributes, len(attributes), 0)
    if rules < 0:
        raise OSError(ctypes.get_errno(), "landlock: create")
    for paths, allowed in ((read, READ), (write, handled)):
        for path in paths:
            if not os.path.exists(path):
                continue
            place = os.open(path, os.O_PATH)
            files_only = allowed if os.path.isdir(path) else allowed & (0x0007 | TRUNCATE | IOCTL)
            if libc.syscall(LANDLOCK_ADD, rules, 1, struct.pack("=Qi", files_only, place), 0):
                raise OSError(ctypes.get_errno(), f"landlock: {path}")
            os.close(place)
    if libc.syscall(LANDLOCK_RESTRICT, rules, 0):
        raise OSError(ctypes.get_errno(), "landlock: restrict")
    os.close(rules)


def seccomp(libc: ctypes.CDLL, program: bytes) -> None:
    held = ctypes.create_string_buffer(program, len(program))
    described = struct.pack("=HxxxxxxQ", len(program) // 8, ctypes.addressof(held))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_FILTER, described, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def bridge(path: str, port: int) -> None:
    """A child that carries connections to a port of the inside to the proxy's unix socket. It ends with the sandbox."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(32)
    if os.fork():
        listener.close()
        return
    for inherited in range(3, 64):  # whoever waits for the command to close what it was given must not wait for us
        if inherited != listener.fileno():
            with contextlib.suppress(OSError):
                os.close(inherited)
    devnull = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(devnull, stream)
    while True:
        near, _ = listener.accept()
        far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        far.connect(path)
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=carry, args=(one, other), daemon=True).start()


def carry(source: socket.socket, sink: socket.socket) -> None:
    try:
        while piece := source.recv(CHUNK):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


if __name__ == "__main__":
    main()
