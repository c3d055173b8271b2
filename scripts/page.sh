#!/bin/sh
# Build the page of the workspace, from /web into src/headrace/web/built, with the packages that web/package-lock.json names by hash.
# Where Node.js or npm is missing, too old or without a registry, nothing is built: the API serves all the same, and its page says how.
# `scripts/page.sh must` fails then. A stamp remembers what was built, so that the next run has nothing to do.
set -eu
cd "$(dirname "$0")/.."

built=src/headrace/web/built
stamp=$built/.stamp
must=${1:-}

fingerprint() { find web -path web/node_modules -prune -o -type f -print | LC_ALL=C sort | xargs cat | cksum; }
not_built() {
    echo "the page of the workspace is not built: $1 (the API serves without it; make page tries again)" >&2
    [ -z "$must" ] || exit 1
    exit 0
}

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ] && { [ -z "$must" ] || [ -d web/node_modules ]; }; then
    exit 0
fi
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || not_built "Node.js with npm is not installed"
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 18 || (a === 18 && b >= 18) ? 0 : 1)' ||
    not_built "it needs Node.js 18.18 or newer, and here is $(node --version)"
echo "building the page (half a minute the first time) ..." >&2
npm --prefix web ci --loglevel=error >/dev/null || not_built "its packages could not be installed"
npm --prefix web run --silent build >/dev/null || not_built "the build failed: npm --prefix web run build tells why"
fingerprint >"$stamp"
