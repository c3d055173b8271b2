#!/bin/sh
# AgentDojo, for `make bench-injection`, in an environment of its own: .venv-injection. It brings the clients of five vendors, which it imports
# and we never call.
set -eu
cd "$(dirname "$0")/.."
[ -e .venv-injection/.installed ] && [ .venv-injection/.installed -nt requirements/injection.txt ] && exit 0
python="${PYTHON:-python3}"
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --clear --python "$python" .venv-injection
    uv pip install --quiet --python .venv-injection/bin/python --require-hashes -r requirements/injection.txt
else
    "$python" -m venv --clear .venv-injection
    .venv-injection/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/injection.txt
fi
touch .venv-injection/.installed
