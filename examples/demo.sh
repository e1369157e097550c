#!/bin/sh
# Starts local servers from a topology, makes them a cluster, shows it, and leaves nothing running.
# usage: demo.sh CLUSTERBOOT TOPOLOGY
set -eu
clusterboot=$1
topology=$2

# A state folder of its own: the demo neither sees nor stops what you have spawned yourself.
CLUSTERBOOT_STATE=$(mktemp -d)
export CLUSTERBOOT_STATE
clean_up() {
    "$clusterboot" down "$topology" --quiet || true
    rm -rf "$CLUSTERBOOT_STATE"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n$ clusterboot %s\n' "$*"; }

say up "$topology" --spawn
"$clusterboot" up "$topology" --spawn
say up "$topology" "   # once more: nothing is left to do"
"$clusterboot" up "$topology" 2>/dev/null
echo "exit status $?"
say status "$topology"
"$clusterboot" status "$topology"
say down "$topology"
"$clusterboot" down "$topology"
