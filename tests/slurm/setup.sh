#!/bin/sh
# A Slurm cluster of one machine for tests: munged, slurmctld and slurmd in a folder of their own, as root.
#
#   apt-get install -y --no-install-recommends slurm-wlm munge
#   tests/slurm/setup.sh start [FOLDER]     # prints FOLDER/slurm.conf, the value of SLURM_CONF for those who use it
#   tests/slurm/setup.sh stop [FOLDER]
#
# Nothing outside FOLDER (/tmp/domaingap-slurm) is written, no service of the system is touched, and ports and sockets are
# its own. Partitions: cpu (the default), short (at most two minutes), gpu (a pretended one), and low, whose jobs are
# put back into the queue where a job of cpu needs their place.
set -eu

command=${1:-}
folder=${2:-/tmp/domaingap-slurm}
export SLURM_CONF="$folder/slurm.conf"

port=${DOMAINGAP_SLURM_PORT:-26817}

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

stop() {
    if alive "$folder/slurmctld.pid"; then
        scancel --user="$(id -un)" 2>/dev/null || true
        scontrol shutdown >/dev/null 2>&1 || true
    fi
    for name in slurmctld slurmd munged; do
        pid="$folder/$name.pid"
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            alive "$pid" || break
            [ "$name" != munged ] || kill "$(cat "$pid")"
            sleep 0.5
        done
        ! alive "$pid" || kill -9 "$(cat "$pid")"
    done
}

start() {
    for program in munged slurmctld slurmd; do
        command -v "$program" >/dev/null || PATH="$PATH:/usr/sbin"
        command -v "$program" >/dev/null || {
            echo "setup.sh: no $program; apt-get install -y --no-install-recommends slurm-wlm munge" >&2
            exit 2
        }
    done
    [ "$(id -u)" = 0 ] || { echo "setup.sh: only root may start jobs for users" >&2; exit 2; }
    stop
    rm -rf "$folder"
    mkdir -p -m 755 "$folder/state" "$folder/spool"

    (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
    munged --force --key-file="$folder/munge.key" --seed-file="$folder/munge.seed" --socket="$folder/munge.socket" \
        --pid-file="$folder/munged.pid" --log-file="$folder/munged.log"

    host=$(hostname -s)
    cpus=$(nproc --all)
    memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
    echo "Name=gpu File=/dev/null" >"$folder/gres.conf"
    cat >"$SLURM_CONF" <<END
ClusterName=domaingap
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
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=60
SchedulerParameters=batch_sched_delay=0,sched_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes=$host Default=YES MaxTime=INFINITE PriorityTier=10 State=UP
PartitionName=short Nodes=$host MaxTime=2 PriorityTier=10 State=UP
PartitionName=gpu Nodes=$host DefaultTime=30 MaxTime=60 PriorityTier=10 State=UP
PartitionName=low Nodes=$host MaxTime=INFINITE PriorityTier=1 State=UP
END
    slurmctld -c >"$folder/start.log" 2>&1
    slurmd -N "$host" >>"$folder/start.log" 2>&1
    for _ in $(seq 60); do
        case "$(sinfo -h -p cpu -o %T 2>/dev/null)" in idle | mixed | allocated) echo "$SLURM_CONF"; return ;; esac
        sleep 0.5
    done
    tail -n 5 "$folder"/*.log >&2
    echo "setup.sh: the node isn't ready after 30 seconds; see $folder" >&2
    stop
    exit 1
}

case "$command" in
start | stop) "$command" ;;
*)
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
