#!/usr/bin/env bash
# A private Slurm on loopback for the tests: slurmctld, two nodes and munged, as root, without systemd and cgroups.
#   tests/clusters/slurm.sh start DIR   prints the environment that its commands need, a NAME=VALUE a line
#   tests/clusters/slurm.sh stop DIR
set -euo pipefail
# shellcheck source=tests/clusters/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
action=$1 dir=$2
export PATH=${PATH}:/usr/sbin:/sbin SLURM_CONF=${dir}/slurm.conf

write_config() {
  local port
  port=$(free_ports 3)
  cat >"${SLURM_CONF}" <<END
ClusterName=tests
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=${port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=${dir}/munge.socket
CredType=cred/munge
SlurmctldPidFile=${dir}/run/slurmctld.pid
SlurmdPidFile=${dir}/run/slurmd-%n.pid
SlurmctldLogFile=${dir}/slurmctld.log
SlurmdLogFile=${dir}/slurmd-%n.log
StateSaveLocation=${dir}/state
SlurmdSpoolDir=${dir}/spool/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
EnforcePartLimits=ALL
KillWait=5
MailProg=/bin/true
NodeName=n1 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=4 RealMemory=2000
NodeName=n2 NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=4 RealMemory=2000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=60 State=UP
END
  # Slurm 22 has no way to do without its control-group plugin: this one touches nothing with the settings above.
  case $(slurmd -V) in
    *" 2"[0-2].*) printf 'CgroupPlugin=cgroup/v1\nCgroupMountpoint=%s\n' "${dir}/run" ;;
    *) echo "CgroupPlugin=disabled" ;;
  esac >"${dir}/cgroup.conf"
}

start() {
  [[ ${EUID} == 0 ]] || no_cluster "Slurm's daemons need root here"
  need_programs "slurmctld slurmd slurm-client munge" slurmctld slurmd sbatch munged
  ((${#dir} < 80)) || no_cluster "${dir} is too long a path for a socket"
  mkdir -p "${dir}"/{run,state,spool/n1,spool/n2}
  chmod 755 "${dir}"
  write_config
  (umask 077 && head -c 1024 /dev/urandom >"${dir}/munge.key")
  munged --force --key-file="${dir}/munge.key" --socket="${dir}/munge.socket" --pid-file="${dir}/run/munged.pid" \
    --log-file="${dir}/munged.log" --seed-file="${dir}/munge.seed" >&2 || no_cluster "munged does not start"
  slurmctld >&2 || no_cluster "slurmctld does not start"
  slurmd -N n1 >&2 || no_cluster "slurmd does not start"
  slurmd -N n2 >&2 || no_cluster "slurmd does not start twice on one machine"
  wait_until 30 nodes_idle || no_cluster "Slurm's nodes do not get idle"
  echo "SLURM_CONF=${SLURM_CONF}"
}

nodes_idle() {
  [[ $(timeout 5 sinfo -h -N -o %T 2>/dev/null) == $'idle\nidle' ]]
}

no_jobs() {
  [[ -z $(timeout 5 squeue -h 2>/dev/null) ]]
}

stop() {
  timeout 10 scancel --user=root --state=PENDING 2>/dev/null || true
  timeout 10 scancel --user=root 2>/dev/null || true
  wait_until 15 no_jobs || true
  end_daemons "${dir}"/run/slurmd-*.pid "${dir}"/run/slurmctld.pid "${dir}"/run/munged.pid
}

"${action}"
