#!/usr/bin/env bash
# Sets up once, starts the local stack if no Kafka is configured, and submits the job. See ./spark-submit.sh --help
set -euo pipefail

self="${BASH_SOURCE[0]}"
while [ -L "$self" ]; do # readlink -f is not everywhere
  folder="$(cd "$(dirname "$self")" && pwd -P)"
  self="$(readlink "$self")"
  case "$self" in /*) ;; *) self="$folder/$self" ;; esac
done
root="$(cd "$(dirname "$self")" && pwd -P)"

"$root/scripts/setup" --for-a-job
# -P: a folder called local, where this was called from, is not ours.
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}" exec "$root/.venv/bin/python" -P -m local.submit "$@"
