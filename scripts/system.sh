#!/usr/bin/env bash
# Debian and Ubuntu: the programs that some tests and benchmarks use beside Python. None is needed to serve.
#   nginx-light  the bare proxy that the relay is measured against      wrk   makes the load
#   hledger      checks the books that we export
#   postgresql   for what many hosts share
#   prometheus   for promtool, which reads our /metrics as a judge      curl  the client that everybody has
#   bubblewrap   the namespaces of the sandbox for agents: level 3
#   chromium     the browser in which the page is tested
# They are only put on the disk: no service is started by installing them here, and one that was there before is left as it was.
set -euo pipefail

declare -A package=(
    [nginx]=nginx-light [wrk]=wrk [promtool]=prometheus [curl]=curl [bwrap]=bubblewrap [node]=nodejs [npm]=npm [hledger]=hledger
    [chromium]=chromium
)
# PostgreSQL's server is not on the PATH.
ls -d /usr/lib/postgresql/*/bin >/dev/null 2>&1 || server=postgresql

missing=()
for program in "${!package[@]}"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null 2>&1 || missing+=("${package[$program]}")
done
[ -z "${server:-}" ] || missing+=("$server")

# The official client of JavaScript, for the tests that speak through it, and the package through which it opens a WebSocket.
javascript_client() {
    npm ls -g openai >/dev/null 2>&1 && npm ls -g ws >/dev/null 2>&1 && return
    local as_root=()
    [ -w "$(npm root -g)" ] || as_root=(sudo)
    "${as_root[@]}" npm install -g --no-fund --no-audit --loglevel=error openai@6.49.0 ws@8.23.0 >/dev/null
}

if [ "${#missing[@]}" -eq 0 ]; then
    javascript_client
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
    echo "make system knows Debian and Ubuntu only; install these with your own packager: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "installing ${missing[*]} needs root, or sudo" >&2; exit 1; }
    as_root=(sudo)
fi

# Exit 101 from policy-rc.d means "do not start it"; it is ours only while this script runs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod +x "$policy"
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

echo "installing ${missing[*]} ..."
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null

# Nor at the next boot.
if command -v systemctl >/dev/null 2>&1; then
    for service in nginx prometheus postgresql; do
        case " ${missing[*]} " in
            *" $service"*) "${as_root[@]}" systemctl disable --quiet "$service.service" 2>/dev/null || true ;;
        esac
    done
fi

javascript_client
