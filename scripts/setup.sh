#!/bin/sh
# Make .venv hold what a word of the Makefile needs: `scripts/setup.sh serve` or `scripts/setup.sh dev`.
#
# What is installed is exactly what requirements/*.txt name, by hash, and headrace itself in place (editable). It works with uv, or with
# the standard library's venv and pip alone; whichever index, mirror or certificates they are configured with are used. A stamp file
# beside the environment remembers what was installed, so that the next run has nothing to do.
set -eu
cd "$(dirname "$0")/.."

set=${1:?"say which: serve or dev"}
venv=.venv
requirements=requirements/$set.txt
stamp=$venv/.installed-$set

# One line a Python: the newest that we test with wins, but what `python3` means on this machine comes first.
suits='import sys; sys.exit(not (sys.version_info >= (3, 11) and sys.implementation.name == "cpython"))'
tested='import sys; sys.exit(not ((3, 11) <= sys.version_info < (3, 15) and sys.implementation.name == "cpython"))'
complete='import ensurepip, venv'

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        "$PYTHON" -c "$suits" >/dev/null 2>&1 && { echo "$PYTHON"; return; }
        echo "headrace needs Python 3.11 or newer; PYTHON=$PYTHON is not that" >&2
        return 1
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        "$candidate" -c "$tested" >/dev/null 2>&1 && { echo "$candidate"; return; }
    done
    return 1
}

no_python() {
    [ -z "${PYTHON:-}" ] || exit 1
    echo "headrace needs Python 3.11, 3.12, 3.13 or 3.14, and finds none of them on the PATH." >&2
    echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13), or uv, which brings its own;" >&2
    echo "or say where it is: make serve PYTHON=/path/to/python3.12" >&2
    exit 1
}

has_uv() { [ -z "${HEADRACE_NO_UV:-}" ] && command -v uv >/dev/null 2>&1; }

make_venv() {
    if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "$suits" >/dev/null 2>&1 && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    rm -rf "$venv"
    if has_uv; then
        if [ -n "${PYTHON:-}" ]; then python=$(find_python); else python=$(find_python || echo ">=3.11,<3.15"); fi
        uv venv --quiet --seed --python "$python" "$venv" && return
        rm -rf "$venv"
    fi
    python=$(find_python) || no_python
    "$python" -c "$complete" >/dev/null 2>&1 || {
        echo "$python has no venv module: install it (Debian, Ubuntu: apt install python3-venv) and try again" >&2
        exit 1
    }
    "$python" -m venv "$venv"
}

# --no-deps: the files name every package already; nothing is resolved again.
install_with_uv() {
    VIRTUAL_ENV=$venv uv pip install --quiet --require-hashes --no-deps -r "$requirements" &&
        VIRTUAL_ENV=$venv uv pip install --quiet --no-deps --no-build-isolation -e .
}

# -qq: errors only. A mirror or folder that lacks one of the packages is worth a warning to pip, and none to the person who waits.
install_with_pip() {
    pip="$venv/bin/python -m pip --disable-pip-version-check"
    $pip install -qq --no-warn-script-location --require-hashes --no-deps -r "$requirements" &&
        $pip install -qq --no-warn-script-location --no-deps --no-build-isolation -e .
}

# The stamp holds what the environment was made from; the Makefile has already compared the dates. What develops holds what serves.
fingerprint() { cat pyproject.toml requirements/serve.txt requirements/dev.txt | cksum; }
for stamped in "$stamp" "$venv/.installed-dev"; do
    if [ -x "$venv/bin/python" ] && [ -f "$stamped" ] && [ "$(cat "$stamped")" = "$(fingerprint)" ]; then
        fingerprint >"$stamp"
        exit 0
    fi
done

echo "setting up $venv from $requirements (a minute the first time) ..." >&2
make_venv
rm -f "$venv"/.installed-*
installed=
if has_uv; then
    # uv does not read pip's configuration: where only pip knows the index, pip does it.
    install_with_uv && installed=yes || echo "uv could not install them; trying with pip ..." >&2
fi
if [ -z "$installed" ] && ! install_with_pip; then
    echo "" >&2
    echo "The packages could not be installed: see above. headrace needs a package index the first time; if yours is a mirror, tell pip" >&2
    echo "(PIP_INDEX_URL, or pip config set global.index-url ...) or uv (UV_DEFAULT_INDEX), and run the same command again." >&2
    exit 1
fi
fingerprint >"$stamp"
