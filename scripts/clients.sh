#!/bin/sh
# Frameworks that people build on, for tests/contract/test_frameworks.py, in an environment of their own: .venv-clients (about 400 MB).
# They need no more than what is here: sh scripts/clients.sh, or PYTHON=python3.12 sh scripts/clients.sh
set -eu
cd "$(dirname "$0")/.."
[ -e .venv-clients/.installed ] && [ .venv-clients/.installed -nt scripts/clients.sh ] && exit 0
"${PYTHON:-python3}" -m venv --clear .venv-clients
.venv-clients/bin/python -m pip install --quiet --disable-pip-version-check \
    langchain-tests==1.1.9 langchain-openai==1.7.4 langchain-anthropic==1.7.10 openai-agents==0.24.0 \
    'pydantic-ai-slim[anthropic,openai]==2.68.0' schemathesis==4.32.5 a2a-sdk==1.3.0
touch .venv-clients/.installed
