#!/usr/bin/env bash
# Starts a Slurm of one node for tests. All files are in the given folder; it uses only loopback, separate
# authentication, and neither a service manager nor accounting. Prints the environment that Slurm's programs need. Needs
# root and the Debian packages munge and slurm-wlm. Usage: up.sh FOLDER [PORT]
set -euo pipefail

folder=$(realpath -m "$1") port=${2:-17817} host=$(hostname -s)
PATH=$PATH:/usr/sbin:/sbin
mkdir -p "$folder"/{state,spool,log}
chmod 755 "$folder"

if [[ ! -s $folder/munge.key ]]; then
  head -c 1024 /dev/urandom > "$folder/munge.key"
  chmod 400 "$folder/munge.key"
fi
cat > "$folder/slurm.conf" << CONF
ClusterName=lrlab
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=5
MaxArraySize=1001
NodeName=$host NodeAddr=127.0.0.1 CPUs=${CPUS:-4} CoresPerSocket=${CPUS:-4} State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF

munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
  --log-file="$folder/log/munged.log" --seed-file="$folder/munge.seed" > /dev/null 2>&1
export SLURM_CONF=$folder/slurm.conf
slurmctld > /dev/null 2>&1
slurmd -N "$host" > /dev/null 2>&1
for _ in $(seq 60); do
  if [[ $(sinfo --noheader --format=%t 2> /dev/null) == idle ]]; then
    echo "SLURM_CONF=$SLURM_CONF"
    exit 0
  fi
  sleep 0.5
done
echo "the node did not become idle; see $folder/log" >&2
exit 1
