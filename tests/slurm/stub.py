"""Stands in for Slurm's commands where there is none: each element of an array is a process, and a folder is the cluster.

Linked to under the names of the commands. ``$STUB_SLURM`` holds a file a job; a file ``refuse`` there has sbatch refuse with
its words, ``hold`` keeps jobs waiting for its reason, and ``silent`` has squeue fail.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

CLUSTER = Path(os.environ["STUB_SLURM"])


def said(name: str) -> str | None:
    """What stands in a file of the cluster."""
    path = CLUSTER / name
    return path.read_text().strip() if path.exists() else None


def jobs() -> dict[str, dict[str, str]]:
    """All jobs by id."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(CLUSTER.glob("*.json"))}


def alive(pid: str) -> bool:
    """Whether a process is there, and not only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sbatch(arguments: list[str]) -> int:
    if "--help" in arguments:
        print("\n".join(f"      --{name}=value" for name in ("account", "gres", "exclusive", "partition", "time", "array")))
        return 0
    if (why := said("refuse")) is not None:
        print(f"sbatch: error: {why}\nsbatch: error: Batch job submission failed: {why}", file=sys.stderr)
        return 1
    with open(CLUSTER / "commands", "a") as file:
        file.write(" ".join(arguments) + "\n")
    if "--test-only" in arguments:
        return 0
    script = Path(arguments[-1])
    flags = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", script.read_text(), re.MULTILINE))
    number = str(len({name.partition("_")[0] for name in jobs()}) + 1)
    (CLUSTER / f"script-{number}").write_text(script.read_text())
    last = re.match(r"0-(\d+)", flags.get("array", "").strip("'"))
    for index in range(int(last[1]) + 1) if last else (None,):
        job = number if index is None else f"{number}_{index}"
        place = {} if index is None else {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(index)}
        place |= {"SLURM_JOB_ID": number if index is None else f"{number}00{index}", "SLURM_PROCID": "0", "STUB_JOB": job}
        pid = ""
        if said("hold") is None:
            quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            process = subprocess.Popen(["bash", script], env=os.environ | place, start_new_session=True, **quiet)
            pid = str(process.pid)
        (CLUSTER / f"{job}.json").write_text(json.dumps({"name": flags["job-name"], "pid": pid, "state": ""}))
    print(f"Submitted batch job {number}")
    return 0


def srun(arguments: list[str]) -> int:
    output = arguments[arguments.index("--output") + 1]
    command = arguments[next(i for i, of in enumerate(arguments) if of.endswith(("python", "python3"))) :]
    for mark, name in (("%A", "SLURM_ARRAY_JOB_ID"), ("%a", "SLURM_ARRAY_TASK_ID"), ("%j", "STUB_JOB")):
        output = output.replace(mark, os.environ.get(name, ""))
    with open(output.replace("%t", "0"), "a") as file:
        return subprocess.call(command, stdout=file, stderr=file)


def squeue(arguments: list[str]) -> int:
    if (why := said("silent")) is not None:
        print(f"slurm_load_jobs error: {why}", file=sys.stderr)
        return 1
    for job, of in jobs().items():
        state = of["state"] or ("PENDING" if not of["pid"] else "RUNNING" if alive(of["pid"]) else "COMPLETED")
        print(f"{job}|{state}|{of['name']}|stub|{said('hold') if state == 'PENDING' else 'None'}")
    return 0


def scancel(arguments: list[str]) -> int:
    for job in arguments:
        of = jobs()[job]
        if of["pid"] and alive(of["pid"]):
            os.killpg(int(of["pid"]), signal.SIGKILL)
        (CLUSTER / f"{job}.json").write_text(json.dumps(of | {"state": "CANCELLED"}))
    return 0


def sinfo(arguments: list[str]) -> int:
    print("cpu*|n/a|infinite\nshort|n/a|10:00")
    return 0


def scontrol(arguments: list[str]) -> int:
    print("MaxArraySize            = 4")
    return 0


def sacct(arguments: list[str]) -> int:
    print("sacct: error: Slurm accounting storage is disabled", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(globals()[Path(sys.argv[0]).name](sys.argv[1:]))
