"""What runs outside, when headrace is root: show the draft where nobody may see it, then be nobody for good, then the sandbox.

In a mount namespace of its own it covers `/mnt` by an empty folder and binds into it what the sandbox needs, which may lie in folders
that only root may enter. A script of its own, for the machine's Python, like `inner`.
"""

import ctypes
import json
import os
import sys

CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE, MS_NOSUID, MS_NODEV = 0x20000, 0x1000, 0x4000, 0x40000, 2, 4


def main() -> None:
    told = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result: int, what: str) -> None:
        if result:
            raise OSError(ctypes.get_errno(), what)

    must(libc.unshare(CLONE_NEWNS), "unshare")
    must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private")
    held = {name: os.open(path, os.O_PATH) for name, path in told["binds"].items()}
    must(libc.mount(b"tmpfs", b"/mnt", b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755,size=64k"), "cover")
    for name, place in held.items():
        target = f"/mnt/{name}"
        if os.path.isdir(f"/proc/self/fd/{place}"):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        must(libc.mount(f"/proc/self/fd/{place}".encode(), target.encode(), None, MS_BIND, None), f"bind {name}")
        os.close(place)
    os.setgroups([])
    os.setgid(told["user"])
    os.setuid(told["user"])
    os.chdir("/")
    os.execv(told["line"][0], [*told["line"], *sys.argv[2:]])  # noqa: S606 bubblewrap, by a line of ours


if __name__ == "__main__":
    main()
