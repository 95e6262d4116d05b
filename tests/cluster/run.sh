#!/usr/bin/env bash
# The page, and every risk that needs a cluster to show. Arguments are names of tests, such as
# test_rollout or test_nodes.Nodes; without any, all of them.
set -euo pipefail
cd "$(dirname "$0")"

if [ $# -eq 0 ]; then
    ./traffic-mirroring.sh
    set -- test_*.py
fi
# Unbuffered, so that the figures of a test stand beside its name.
exec python3 -u -B -W ignore::ResourceWarning -m unittest --verbose "$@"
