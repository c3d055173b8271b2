"""The data folder: its owner's alone, one server at a time, and a development key that stays."""

import os
import signal
import stat
import subprocess
import sys

import pytest

from headrace.core.errors import DataFolderLocked, SetupError
from headrace.storage import DataFolder, FileLock, development_key, make_folder


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_made_for_its_owner_alone(tmp_path):
    layout = make_folder(tmp_path / "a" / "data")
    assert mode(layout.root) == mode(layout.usage) == 0o700
    assert make_folder(layout.root) == layout


def test_a_folder_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match=r"can't be made .*choose another with \[storage\] path"):
        make_folder(tmp_path / "file")


def test_one_server_holds_it(tmp_path):
    with DataFolder.hold(tmp_path / "data", 11) as folder:
        with pytest.raises(DataFolderLocked, match=r"in use by another headrace server \(process 11\): stop that one first"):
            DataFolder.hold(tmp_path / "data", 12)
        assert folder.layout.lock.read_text() == "11\n"
    DataFolder.hold(tmp_path / "data", 13).close()


def test_a_dead_server_whose_worker_still_has_the_folder_is_told_from_one_that_lives(tmp_path):
    script = (
        "import os, sys, time; from pathlib import Path; from headrace.storage import DataFolder\n"
        "held = DataFolder.hold(Path(sys.argv[1]), os.getpid())\n"
        "if os.fork() == 0: time.sleep(60)\n"
        "print(flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, tmp_path], stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)}, start_new_session=True
    )
    assert child.stdout is not None
    with child, child.stdout:
        try:
            child.stdout.readline()
            with pytest.raises(DataFolderLocked) as lives:
                DataFolder.hold(tmp_path, 12)
            child.kill()
            child.wait()
            with pytest.raises(DataFolderLocked) as dead:
                DataFolder.hold(tmp_path, 12)
        finally:
            os.killpg(child.pid, signal.SIGKILL)
    assert (lives.value.dying, dead.value.dying) == (False, True)


def test_a_lock_ends_with_its_holder_however_it_ends(tmp_path):
    path = tmp_path / "lock"
    script = (
        "import sys, time; from pathlib import Path; from headrace.storage.folder import FileLock\n"
        "held = FileLock(Path(sys.argv[1])); print(held.take(7), flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)})
    assert child.stdout is not None
    with child, child.stdout:
        assert child.stdout.readline() == b"True\n"
        lock = FileLock(path)
        assert not lock.take(8)
        assert lock.holder() == "7"
        child.kill()
        child.wait()
        assert lock.take(8)
        lock.release()
        lock.release()


def test_the_development_key_is_made_once_and_is_the_owners_alone(tmp_path):
    layout = make_folder(tmp_path / "data")
    secret = development_key(layout, bytes(range(32)))
    assert secret.startswith("sk-hr-")
    assert mode(layout.development_key) == 0o600
    assert development_key(layout, bytes(range(1, 33))) == secret
    layout.development_key.write_text("")
    assert development_key(layout, bytes(range(1, 33))) != secret
