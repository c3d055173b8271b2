"""What runs beside a sandboxed server that speaks in lines: it passes them on, and ends a server whose line has no end.

Whoever reads the lines keeps one until it ends, so a line without end would fill our memory. Why it was ended is written to a file that the
server can't reach. A script of its own, for the machine's Python, like `inner`: bytes at most, the file, and the server's program.
"""

import os
import subprocess
import sys

PIECE = 65_536


def main() -> None:
    bytes_max, why, line = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    server = subprocess.Popen(line, stdout=subprocess.PIPE)  # noqa: S603 a line of ours
    assert server.stdout is not None
    length = 0
    try:
        while piece := os.read(server.stdout.fileno(), PIECE):
            first, last = piece.find(b"\n"), piece.rfind(b"\n")
            longest = length + (len(piece) if first < 0 else first)
            length = longest if last < 0 else len(piece) - last - 1
            if longest > bytes_max:
                with open(why, "w") as file:
                    file.write(f"It sent a line of more than {bytes_max:,} bytes, and was ended.")
                return
            while piece:
                piece = piece[os.write(1, piece) :]
    except BrokenPipeError:
        pass
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
