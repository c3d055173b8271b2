#!/bin/sh
# Codex CLI and Claude Code, for tests/e2e/test_foreign.py, in a folder of their own: .agents (about 660 MB; it needs npm).
set -eu
cd "$(dirname "$0")/.."
[ -e .agents/.installed ] && [ .agents/.installed -nt scripts/agents.sh ] && exit 0
mkdir -p .agents
npm install --prefix .agents --no-fund --no-audit --silent @openai/codex@0.171.0 @anthropic-ai/claude-code@2.1.197
touch .agents/.installed
