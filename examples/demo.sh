#!/bin/sh
# Starts the local servers of a topology, forms a cluster, shows it, and stops everything.
# usage: demo.sh CLUSTERBOOT TOPOLOGY
set -eu
clusterboot=$1
topology=$2

# A separate state folder, so that the demo does not affect clusters that you have spawned.
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
say up "$topology" "   # again: nothing left to do"
"$clusterboot" up "$topology" 2>/dev/null
echo "exit status $?"
say status "$topology"
"$clusterboot" status "$topology"
say down "$topology"
"$clusterboot" down "$topology"
