#!/bin/sh
# The FinOps Foundation's validator, for tests/contract/test_focus.py, in an environment of its own: .venv-focus (about 650 MB).
# It needs Python 3.12 or newer: sh scripts/focus.sh, or PYTHON=python3.12 sh scripts/focus.sh
set -eu
cd "$(dirname "$0")/.."
[ -e .venv-focus/.installed ] && exit 0
"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 12))' || {
    echo "the validator needs Python 3.12 or newer, and ${PYTHON:-python3} is older: PYTHON=python3.12 sh scripts/focus.sh" >&2
    exit 1
}
"${PYTHON:-python3}" -m venv --clear .venv-focus
.venv-focus/bin/python -m pip install --quiet --disable-pip-version-check focus-validator==2.2.1 pyarrow==21.0.0
touch .venv-focus/.installed
