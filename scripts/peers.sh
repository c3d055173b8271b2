#!/bin/sh
# Public gateways and routers for bench/peers.py, in an environment of their own: .venv-peers. Optional, and no part of CI; the newest are taken.
set -eu
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .venv-peers
.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check "litellm[proxy]" vllm-router smg
if command -v npm >/dev/null 2>&1; then
    npm install --silent --no-audit --no-fund --prefix .venv-peers @portkey-ai/gateway
fi
