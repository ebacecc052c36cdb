#!/usr/bin/env bash
# scripts/slurm_here.sh FOLDER COMMAND...: Slurm on this machine alone, without systemd, for as long as a command runs: munged,
# slurmctld and slurmd with keys, configuration, state and logs in FOLDER, which becomes root's. SLURM_CONF leads its clients there. Needs
# root, and Debian's slurmctld, slurmd, slurm-client and munge (scripts/setup.sh --dev). Exit code: the command's, or 3
# where Slurm can't be run here, with what its logs say last.
set -euo pipefail
folder=$(realpath -m "$1")
shift
mkdir -p "$folder"/{state,spool,log,munge}
host=$(hostname -s) cpus=$(nproc)
port=$((20000 + $$ % 20000))
head -c 1024 /dev/urandom > "$folder/munge/key"
chmod 700 "$folder/munge" && chmod 400 "$folder/munge/key"
socket=$folder/munge/socket
cat > "$folder/slurm.conf" <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$socket
CredType=cred/munge
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=2
JobRequeue=1
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
CONF
export SLURM_CONF=$folder/slurm.conf
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
  wait 2> /dev/null || true
}
trap finish EXIT
munged -F --key-file="$folder/munge/key" --socket="$socket" --pid-file="$folder/munge/pid" \
  --log-file="$folder/munge/log" --seed-file="$folder/munge/seed" --force > "$folder/log/munged.log" 2>&1 &
pids+=($!)
for _ in $(seq 50); do [ -S "$socket" ] && break; sleep 0.1; done
slurmctld -D > "$folder/log/slurmctld.out" 2>&1 &
pids+=($!)
slurmd -D -N "$host" > "$folder/log/slurmd.out" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  sinfo -h -o %t 2> /dev/null | grep -q '^idle' && ready=1 && break
  sleep 0.2
done
if [ -z "${ready:-}" ]; then
  echo "Slurm does not come up here:" >&2
  tail -n 5 "$folder"/log/* "$folder/munge/log" >&2 || true
  exit 3
fi
"$@"
