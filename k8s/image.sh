#!/usr/bin/env bash
# The images doppel:dev and doppel-tests:dev of this working copy: with Docker or Podman where there
# is one, otherwise out of what cargo builds here, as archives that a cluster's nodes can import.
#
#   --archives      archives also where there is Docker
#   DOPPEL_TAG      another tag than dev
#   DOPPEL_PROFILE  cargo's profile for the archives: release, or dev, which builds in a fraction of the time
set -euo pipefail
cd "$(dirname "$0")/.."

tag=${DOPPEL_TAG:-dev}
profile=${DOPPEL_PROFILE:-release}
tool=${DOPPEL_CLUSTER_TOOL:-../shared/cluster/cluster}

for builder in docker podman; do
    if [ "${1:-}" != --archives ] && command -v "$builder" >/dev/null && "$builder" info >/dev/null 2>&1; then
        "$builder" build -f k8s/Dockerfile -t "doppel-tests:$tag" --target tests .
        "$builder" build -f k8s/Dockerfile -t "doppel:$tag" .
        exit
    fi
done
if ! [ -x "$tool" ]; then
    echo "Neither Docker nor Podman runs here, and no tool that packs images is at $tool." >&2
    exit 1
fi

cargo build --profile "$profile" --workspace --bins --locked
target=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
built=$target/${profile/#dev/debug}
stripped=$(mktemp -d)
trap 'rm -rf "$stripped"' EXIT
for program in doppel-gateway doppel-adapter doppel-echo; do
    strip --strip-debug -o "$stripped/$program" "$built/$program"
done

archive=$("$tool" image --ca --user 65532:65532 "doppel:$tag" /doppel-gateway "$stripped/doppel-gateway" "$stripped/doppel-adapter")
python3 k8s/mark.py "$archive" /doppel-gateway
echo "$archive"
"$tool" image --user 65532:65532 "doppel-tests:$tag" /doppel-echo "$stripped/doppel-echo" "$(command -v pkill)=/usr/bin/pkill"
