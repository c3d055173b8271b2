"""A real PostgreSQL of a test's own: made in a folder, reached over a socket in it, killed and started again at will."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.needs import missing
from tests.processes import children, lives

PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


class Postgres:
    """One cluster. `url` leads to it as long as it runs."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries, self._folder = binaries, folder
        self._user = None if os.getuid() else "postgres"  # it refuses to run as root
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", str(folder / "data"), "-U", "headrace", "-A", "trust", "--no-sync")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://headrace@/postgres?host={self._folder}"

    def start(self) -> None:
        # without fsync, since processes are killed here and the machine is not: what was written stays
        settings = ("listen_addresses=", "shared_buffers=16MB", "fsync=off")
        options = ("-D", str(self._folder / "data"), "-k", str(self._folder), *(word for one in settings for word in ("-c", one)))
        with (self._folder / "log").open("ab") as said:
            self.process = subprocess.Popen(
                [self._binaries / "postgres", *options], user=self._user, stdout=said, stderr=said, start_new_session=True
            )
        deadline = time.monotonic() + 20
        while subprocess.run([self._binaries / "pg_isready", "-q", "-h", str(self._folder)], check=False).returncode:
            assert self.process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9 of it and of its children, each in a session of its own: left to themselves they would answer a moment longer."""
        assert self.process is not None
        own = children(self.process.pid)
        for pid in (self.process.pid, *own):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)
        self.process = None
        deadline = time.monotonic() + 20
        while any(lives(pid) for pid in own):
            assert time.monotonic() < deadline, "a child of PostgreSQL does not die"
            time.sleep(0.01)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)
            self.process = None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run([self._binaries / program, *arguments], user=self._user, check=True, capture_output=True)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A cluster that runs; skips the test where this machine has none."""
    if not PLACES:
        missing("PostgreSQL is not installed: make system (Debian's package postgresql)")
    if not os.getuid():
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            missing("PostgreSQL does not run as root, and there is no user postgres")
    with tempfile.TemporaryDirectory(prefix="hr-pg-") as folder:
        Path(folder).chmod(0o755)
        one = Postgres(PLACES[0], Path(folder))
        one.start()
        try:
            yield one
        finally:
            one.stop()
