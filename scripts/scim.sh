#!/bin/sh
# The compliance tester of scim2-models' authors, for tests/contract/test_scim.py, in an environment of its own: .venv-scim (about 50 MB).
# sh scripts/scim.sh, or PYTHON=python3.12 sh scripts/scim.sh
set -eu
cd "$(dirname "$0")/.."
[ -e .venv-scim/.installed ] && exit 0
"${PYTHON:-python3}" -m venv --clear .venv-scim
.venv-scim/bin/python -m pip install --quiet --disable-pip-version-check scim2-tester==0.5.2 scim2-client==0.13.2 scim2-models==0.12.3 httpx2==2.16.2
touch .venv-scim/.installed
