#!/bin/sh
# Open Responses' compliance suite against a server that runs: sh scripts/open_responses.sh MODEL [BASE_URL]
# The key is OPENRESPONSES_API_KEY. It needs git, bun and network access; COMMIT=… takes another state of the suite than its newest.
set -eu
model=${1:?"usage: OPENRESPONSES_API_KEY=... sh scripts/open_responses.sh MODEL [BASE_URL]"}
: "${OPENRESPONSES_API_KEY:?"set it to a key of the server"}"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git clone --quiet https://github.com/openresponses/openresponses "$folder"
git -C "$folder" checkout --quiet "${COMMIT:-HEAD}"
echo "Open Responses at $(git -C "$folder" log -1 --format='%h of %cs')"
cd "$folder"
bun install --silent --ignore-scripts
bun run test:compliance --base-url "${2:-http://127.0.0.1:8080/v1}" --model "$model"
