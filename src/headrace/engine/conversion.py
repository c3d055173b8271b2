"""GGUF to OpenVINO's own form (IR), once, in a process of its own: converting takes several times the memory that serving does.

    python -m headrace.engine.conversion WEIGHTS FOLDER

The result appears under its name by a rename, when it is complete; what a crash leaves behind is never taken for a model.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from headrace.core.errors import SetupError

MODEL = "openvino_model.xml"


def converted(weights: Path, folder: Path) -> Path:
    """The folder that holds IR of `weights`, made now if need be. Safe when several do it at the same time."""
    if not (folder / MODEL).exists():
        made = subprocess.run(  # noqa: S603 -- our own interpreter and module
            [sys.executable, "-m", "headrace.engine.conversion", str(weights), str(folder)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode or not (folder / MODEL).exists():
            last = (made.stderr.strip() or made.stdout.strip()).splitlines()[-1:]
            raise SetupError(f"OpenVINO could not convert {weights}: {''.join(last) or f'it ended with {made.returncode}'}")
    return folder


def convert(weights: Path, folder: Path) -> None:
    """Write IR of `weights` to `folder`."""
    import openvino_genai

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="converting-", dir=folder.parent) as scratch:
        source = Path(scratch) / "model.gguf"  # OpenVINO writes beside what it reads
        source.symlink_to(weights.resolve())
        openvino_genai.LLMPipeline(str(source), "CPU", enable_save_ov_model=True)
        source.unlink()
        if not (Path(scratch) / MODEL).exists():
            raise RuntimeError("no model was written")
        with contextlib.suppress(OSError):  # another process was first, with the same result
            os.rename(scratch, folder)
            Path(scratch).mkdir()  # for TemporaryDirectory to remove
    if not (folder / MODEL).exists():
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
