"""Commands of the program without its start: a process that has imported it once forks for each.

What a command does is the same: its arguments, folder, environment and ends are its own. What it is spared are the imports, most of the
time of a short command, which the suite and the soak run by the thousand, and of a server, of which they start hundreds. Those of
tests/e2e/test_program.py start as a person starts them.
"""

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from socketserver import ForkingMixIn, StreamRequestHandler, UnixStreamServer
from typing import Any

_starting = threading.Lock()
_socket: dict[int, str] = {}
"""Where this process's forking process listens, by the process that started it: a fork of ours starts one of its own."""


def run(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float) -> "subprocess.CompletedProcess[str]":
    """As `subprocess.run` of the program with these arguments, nothing to read, and what it writes captured."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Forked(arguments, cwd=cwd, env=env, out=out.fileno(), err=err.fileno())
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(arguments, code, _read(out), _read(err))


class Forked:
    """A process of the program, with what is used of `subprocess.Popen`."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], out: int, err: int) -> None:
        with _starting:
            if os.getpid() not in _socket:
                _socket[os.getpid()] = _start()
        self.args, self.returncode = arguments, None
        self._wire, self._told = socket.socket(socket.AF_UNIX), b""
        self._wire.connect(_socket[os.getpid()])
        asked = json.dumps({"arguments": [*arguments], "cwd": str(cwd), "env": dict(env)}).encode() + b"\n"
        socket.send_fds(self._wire, [b"1"], [out, err])
        self._wire.sendall(asked)
        self.pid = int(self._line(None))

    returncode: int | None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            try:
                self.returncode = int(self._line(timeout))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._wire.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _line(self, timeout: float | None) -> bytes:
        """The next line; two that were told one after another may come together."""
        self._wire.settimeout(timeout)
        while b"\n" not in self._told:
            if not (more := self._wire.recv(64)):
                raise ConnectionError("the process that forks for the tests has ended")
            self._told += more
        line, _, self._told = self._told.partition(b"\n")
        return line


def _read(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))


def _start() -> str:
    folder = tempfile.mkdtemp(prefix="hr-forks-")
    path = os.path.join(folder, "socket")
    ready, told = os.pipe()
    process = subprocess.Popen(
        (sys.executable, "-c", f"from tests.forks import serve; serve({path!r}, {told})"),
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.DEVNULL,
        pass_fds=[told],
    )
    os.close(told)
    with os.fdopen(ready, "rb") as ends:
        ends.read()
    owner = os.getpid()

    def end() -> None:
        if os.getpid() == owner:
            process.kill()
            process.wait()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return path


def serve(path: str, told: int) -> None:
    """Fork for whoever connects, until the process that started this one has gone."""
    from headrace.cli import main

    class Forked(StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                _command(self, main)

    parent = os.getppid()

    class Server(ForkingMixIn, UnixStreamServer):
        max_children = 64

        def service_actions(self) -> None:
            super().service_actions()
            if os.getppid() != parent:
                os._exit(0)

    with Server(path, Forked) as server:
        os.close(told)
        server.serve_forever(poll_interval=0.5)


def _command(handler: StreamRequestHandler, main: Any) -> None:
    _, files, _, _ = socket.recv_fds(handler.request, 1, 2)
    asked = json.loads(handler.rfile.readline())
    pid = os.fork()
    if not pid:
        _become(asked, files, main)
    handler.wfile.write(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    handler.wfile.write(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(asked: dict[str, Any], files: list[int], main: Any) -> None:
    """This process is the command now, to its end."""
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        os.closerange(3, 1024)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.argv = ["headrace", *asked["arguments"]]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 -- as the interpreter tells it at the end of a process
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
