#!/bin/sh
# Routers that nobody here wrote, for tests/contract/test_real_servers.py, in an environment of their own: .venv-routers
set -eu
cd "$(dirname "$0")/.."
[ -e .venv-routers/.installed ] && [ .venv-routers/.installed -nt requirements/routers.txt ] && exit 0
python="${PYTHON:-python3}"
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --clear --python "$python" .venv-routers
    uv pip install --quiet --python .venv-routers/bin/python --require-hashes -r requirements/routers.txt
else
    "$python" -m venv --clear .venv-routers
    .venv-routers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/routers.txt
fi
touch .venv-routers/.installed
