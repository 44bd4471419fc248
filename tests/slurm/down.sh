#!/usr/bin/env bash
# Stops what up.sh started in the given folder.
set -uo pipefail
export SLURM_CONF=$1/slurm.conf
scancel --user=root --signal=KILL --full > /dev/null 2>&1
scancel --user=root > /dev/null 2>&1
for daemon in slurmd slurmctld munged; do
  [[ -s $1/$daemon.pid ]] && kill "$(< "$1/$daemon.pid")" 2> /dev/null
done
exit 0
