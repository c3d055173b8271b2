#!/bin/sh
# Programs of others in an environment of their own: `scripts/environment.sh NAME` makes .venv-NAME hold what requirements/NAME.txt names.
#   routers     that nobody here wrote, for tests/contract/test_real_servers.py
#   clients     frameworks that people build on, for tests/contract/test_frameworks.py and test_a2a.py (about 400 MB)
#   injection   AgentDojo, for `make bench-injection`: it imports the clients of five vendors, which are never called
# With uv where it is on the PATH and reaches an index, else with pip. PYTHON=python3.12 chooses another Python.
set -eu
cd "$(dirname "$0")/.."

name=${1:?"say which: routers, clients or injection"}
venv=.venv-$name
requirements=requirements/$name.txt
python="${PYTHON:-python3}"

with_uv() {
    [ -z "${HEADRACE_NO_UV:-}" ] && command -v uv >/dev/null 2>&1 &&
        uv venv --quiet --clear --python "$python" "$venv" &&
        uv pip install --quiet --python "$venv/bin/python" --require-hashes --no-deps -r "$requirements"
}
with_pip() {
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes --no-deps -r "$requirements"
}

[ -e "$venv/.installed" ] && [ "$venv/.installed" -nt "$requirements" ] && exit 0
with_uv || with_pip
touch "$venv/.installed"
