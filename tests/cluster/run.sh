#!/usr/bin/env bash
# The page, and every risk that needs a cluster to show. Arguments are names of tests, such as
# test_rollout or test_nodes.Nodes; without any, all of them.
set -euo pipefail
cd "$(dirname "$0")"

if [ $# -eq 0 ]; then
    ./traffic-mirroring.sh
    set -- discover --pattern 'test_*.py'
fi
exec python3 -B -W ignore::ResourceWarning -m unittest --verbose "$@"
