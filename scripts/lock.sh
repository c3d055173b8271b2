#!/bin/sh
# Resolve the hashed requirement files again, for every supported Python and platform at once. Needs uv.
# They hold names, versions and hashes, and no host: whoever installs chooses the index.
# `sh scripts/lock.sh --upgrade` takes the newest versions that pyproject.toml allows; without it, only what must change does.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null 2>&1 || { echo "make lock needs uv (any recent version): https://docs.astral.sh/uv/" >&2; exit 1; }

compile() {
    uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url "$@"
}

compile --extra engine --group build --output-file requirements/serve.txt "$@"
# What serves must not depend on what develops, so the second file is held to the first.
compile --extra engine --extra otel --extra simulate --extra plan --extra workspace --group dev --constraint requirements/serve.txt --output-file requirements/dev.txt "$@"
# Programs that some tests run between us and an engine, in an environment of their own: scripts/environment.sh.
uv pip compile requirements/routers.in --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
    --no-annotate --output-file requirements/routers.txt "$@"
# Frameworks that people build on, over headrace.
uv pip compile requirements/clients.in --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
    --no-annotate --output-file requirements/clients.txt "$@"
# AgentDojo, for `make bench-injection`, with what it drags along for models that we don't ask.
uv pip compile requirements/injection.in --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
    --no-annotate --output-file requirements/injection.txt "$@"

if grep -nE '://|^(-i|--index|--extra-index|--find-links)' requirements/*.txt; then
    echo "a lock file names a host" >&2
    exit 1
fi
echo "requirements/serve.txt: $(grep -cE '^[a-z0-9]' requirements/serve.txt) packages, requirements/dev.txt: $(grep -cE '^[a-z0-9]' requirements/dev.txt)"
