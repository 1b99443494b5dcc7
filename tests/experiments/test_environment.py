"""Shells, users and installations as other people have them: none of them breaks a valid command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Answer

ROOT = Path(__file__).parents[2]

CLUSTERS: dict[str, dict[str, str]] = {
    "SLURM": {
        "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7", "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NTASKS_PER_NODE": "4",
        "SLURM_JOB_NAME": "train", "SLURM_NODELIST": "n[1-2]", "SLURM_NODEID": "1",
    },
    "torchrun": {
        "RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2", "GROUP_RANK": "1", "TORCHELASTIC_RUN_ID": "x",
        "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "1",
    },
    "LSF": {
        "LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/none", "JSM_NAMESPACE_LOCAL_RANK": "1", "JSM_NAMESPACE_SIZE": "2",
        "JSM_NAMESPACE_RANK": "1",
    },
    "MPI": {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4", "PMI_RANK": "1"},
    "Kubeflow": {"KUBERNETES_PORT": "1", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "9", "WORLD_SIZE": "3", "RANK": "1"},
    "Lightning": {"PL_TRAINER_MAX_EPOCHS": "1", "PL_TRAINER_FAST_DEV_RUN": "1", "PL_TRAINER_LIMIT_TRAIN_BATCHES": "1"},
    "no number": {"RANK": "abc", "LOCAL_RANK": ""},
}  # fmt: skip
SHELLS: dict[str, dict[str, str]] = {
    "threads": {"OMP_NUM_THREADS": "many", "MKL_NUM_THREADS": "0", "NUMBA_NUM_THREADS": "-3"},
    "no docstrings": {"PYTHONOPTIMIZE": "2"},
    "warnings": {"PYTHONWARNINGS": "error"},
    "hashes": {"PYTHONHASHSEED": "5"},
    "no GPU": {"CUDA_VISIBLE_DEVICES": ""},
    "folders": {"HOME": "/nonexistent", "TMPDIR": "/nonexistent"},
    "language": {"LC_ALL": "tr_TR.UTF-8", "TZ": "Nowhere/Bad", "PYTHONIOENCODING": "ascii"},
    "terminal": {"TERM": "dumb", "COLUMNS": "garbage", "LINES": "-1", "NO_COLOR": "1", "FORCE_COLOR": "1"},
}


def shell(*command: object, env: dict[str, str] | None = None, prefix: str = "", **options: Any) -> Any:
    """A command in a shell with other variables; threads as in this process unless they say so."""
    environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"), **os.environ, **(env or {})}
    environment["PYTHONPATH"] = str(ROOT)
    line = " ".join([prefix, *map(str, command)])
    options = {"cwd": ROOT, "timeout": 250, **options}
    return subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False, **options)


def domaingap(*arguments: object, **options: Any) -> Any:
    return shell(sys.executable, "-m", "experiments", *arguments, **options)


def nme(runs: Path) -> float:
    (path,) = runs.glob("*/result.json")
    return float(json.loads(path.read_text())["metrics"]["val/nme"])


def trains(cli: Callable[..., Answer], quick: list[str], tmp_path: Path, **options: Any) -> None:
    """A training ends well, with the figures that it has here."""
    done = domaingap("run", "real_only", *quick, **options)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done
    found = nme(tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs")
    assert cli("run", "real_only", *quick).code == 0
    assert found == pytest.approx(nme(tmp_path / "runs"), rel=1e-6)  # another number of threads, other last digits


def test_a_training_is_one_process_in_any_cluster(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_utilities.core.rank_zero import rank_zero_only

    assert cli("run", "real_only", *quick).code == 0
    expected = nme(tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs")
    for name, variables in CLUSTERS.items():
        if name != "no number":
            for key, value in variables.items():
                monkeypatch.setenv(key, value)
    vars(rank_zero_only).update(rank=3)  # what Lightning reads of them where it is imported
    before = dict(os.environ)
    assert cli("run", "real_only", *quick).code == 0 and nme(tmp_path / "runs") == expected
    assert dict(os.environ) == before and vars(rank_zero_only)["rank"] == 0


@pytest.mark.slow
def test_a_training_is_one_process_in_any_cluster_and_shell(
    cli: Callable[..., Answer], quick: list[str], tmp_path: Path
) -> None:
    """All at once, but for what excludes each other; one after the other below."""
    environment = {key: value for of in (*CLUSTERS.values(), *SHELLS.values()) for key, value in of.items()}
    environment |= CLUSTERS["torchrun"]
    del environment["PYTHONOPTIMIZE"]
    trains(cli, quick, tmp_path, env=environment, prefix="umask 0777; ulimit -n 64; exec <&-;")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLUSTERS, *SHELLS])
def test_each_alone(cli: Callable[..., Answer], quick: list[str], tmp_path: Path, name: str) -> None:
    trains(cli, quick, tmp_path, env={**CLUSTERS, **SHELLS}[name])


def test_help_without_docstrings_and_with_any_width() -> None:
    for arguments in ((), ("run",), ("run", "mixing"), ("sweep",)):
        done = domaingap(*arguments, "--help", env={"PYTHONOPTIMIZE": "2", "COLUMNS": "1", "PYTHONIOENCODING": "ascii"})
        assert done.returncode == 0 and "usage: domaingap" in done.stdout and not done.stderr, done


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    prefix = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone;"
    done = domaingap("data", "generate", "--n", 2, "--size", 64, "--out", tmp_path / "faces", prefix=prefix)
    assert done.returncode == 0 and len(list((tmp_path / "faces").glob("*_face.npz"))) == 2, done
    done = domaingap("data", "generate", "--n", 2, "--size", 64, "--out", "faces", prefix=prefix)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "the working directory was deleted; change to one that is there, or give absolute paths" in done.stderr


# Compiled code

NUMBA = """
import os, sys
from numba.core import caching
for locator in (caching.InTreeCacheLocator, caching.UserWideCacheLocator):
    locator.from_function = classmethod(lambda cls, function, file: None)
import domaingap.hashing as hashing
if sys.argv[1] == "nowhere":
    hashing.private_folder = lambda name: None
if sys.argv[1] == "full":
    def full(self, *of):
        raise OSError(28, "No space left on device")
    caching.IndexDataCacheFile.save = caching.IndexDataCacheFile.load = full
import numpy as np
from domaingap.data.generated import raster
assert raster.halve(np.ones((4, 4, 3), np.float32)).shape == (2, 2, 3)
print(getattr(getattr(raster.halve, "_cache", None), "cache_path", None))
"""


@pytest.mark.parametrize("place", ["elsewhere", "full", "nowhere"])
def test_what_is_compiled_is_kept_where_there_is_a_place_or_not_at_all(tmp_path: Path, place: str) -> None:
    """numba itself raises where neither the package nor the user's cache folder can be written."""
    (tmp_path / "code.py").write_text(NUMBA)
    done = shell(sys.executable, tmp_path / "code.py", place, env={"TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    kept = tmp_path / f"domaingap-{os.getuid()}-numba"
    if place == "nowhere":
        assert done.stdout == "None\n" and not kept.exists()
    else:
        assert done.stdout.startswith(str(kept)) and kept.stat().st_mode & 0o777 == 0o700
        assert any(kept.rglob("*.nbi")) == (place == "elsewhere")


def test_a_folder_that_somebody_else_prepared_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled code is run: nobody else may put it there."""
    import tempfile

    from domaingap.hashing import private_folder

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = private_folder("x")
    assert made is not None and private_folder("x") == made
    made.chmod(0o777)
    assert private_folder("x") is None
    made.rmdir()
    made.symlink_to(tmp_path)
    assert private_folder("x") is None


@pytest.mark.slow
def test_a_read_only_installation_and_a_user_without_entry_or_home(tmp_path: Path) -> None:
    become = (
        "setpriv --reuid=12345 --regid=12345 --clear-groups --inh-caps=-all,+dac_read_search "
        "--ambient-caps=+dac_read_search --bounding-set=-all,+dac_read_search env -u HOME -u USER -u LOGNAME"
    )
    if os.getuid() or shell(f"{become} true").returncode:
        pytest.skip("can't become another user here")
    there = tmp_path / "installed"
    for name in ("domaingap", "experiments", "configs"):
        shutil.copytree(ROOT / name, there / name, ignore=shutil.ignore_patterns("__pycache__"))
    shell("chmod", "-R", "a+rX,a-w", there)
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, 12345, 12345)
    for folder in [tmp_path, *tmp_path.parents]:
        if not folder.stat().st_mode & 0o001:  # pytest's own, however many they are
            folder.chmod(folder.stat().st_mode | 0o755)
    options = [
        "--prepared_dir", out / "prepared", "--runs_dir", out / "runs", "--real.source", "generated_target",
        "--real.n_val", 20, "--real.generated.n_train", 60, "--real.generated.n_test", 10, "--crop.size", 32,
        "--model.backbone", "test_resnet", "--fit.steps", 4, "--fit.batch_size", 8, "--wandb.mode", "offline",
    ]  # fmt: skip
    done = shell(
        f"cd {there}; {become} PYTHONPATH={there} WANDB_MODE=offline",
        sys.executable,
        "-m experiments run real_only",
        *options,
    )
    assert done.returncode == 0 and nme(out / "runs"), done
    assert not list(there.rglob("__pycache__")) and not (there / "~").exists()
    done = shell(f"cd {there}; {become} PYTHONPATH={there}", sys.executable, "-m experiments demo --quick")
    assert done.returncode == 2 and done.stderr.splitlines()[-1] == (
        "domaingap: .: can't be written (no rights to it); choose another --runs_dir"
    )


# Weights & Biases


@pytest.mark.parametrize(
    ("mode", "expected"), [("off", "off"), ("offline", "offline"), ("auto", "offline"), ("online", None)]
)
def test_a_bad_key_matters_only_to_those_who_want_to_be_online(
    mode: str, expected: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from domaingap.errors import UserError
    from domaingap.tracking import effective_mode

    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_API_KEY", "bad")
    if expected is None:
        with pytest.raises(
            UserError, match="WANDB_API_KEY invalid.*run 'wandb login', or choose --wandb.mode offline or off"
        ):
            effective_mode(mode)
        return
    assert effective_mode(mode) == expected
    assert ("WANDB_API_KEY invalid" in capsys.readouterr().err) == (mode == "auto")


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{"WANDB_API_KEY": "bad"}, {"WANDB_DIR": "/proc/x", "WANDB_CACHE_DIR": "/proc/x"}])
@pytest.mark.parametrize("mode", ["offline", "auto"])
def test_a_run_that_is_tracked_offline(quick: list[str], tmp_path: Path, environment: dict[str, str], mode: str) -> None:
    done = domaingap("run", "real_only", *quick[:-1], f"--wandb.mode={mode}", env={**environment, "WANDB_MODE": ""})
    assert done.returncode == 0 and "offline" in done.stderr and nme(tmp_path / "runs"), done


def test_what_goes_wrong_in_tracking_ends_the_tracking_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from domaingap.config import WandbConfig
    from domaingap.tracking import Tracker

    class Broken:
        step, starting_step, dir = 0, 0, "files"

        def log(self, *of: object, **more: object) -> None:
            raise BrokenPipeError("its service\nhas gone")

    tracker = Tracker(WandbConfig(mode="off"), tmp_path, "name", "key", "real_only", "group", {})
    tracker._run = Broken()
    for step in (1, 2):
        tracker.point(step, {"val/nme": 1.0})
    tracker.finish(1)
    assert capsys.readouterr().err == "Weights & Biases: its service has gone; going on without it\n"


# Scripts of other people

WAYS = ("a script", "a guarded script", "standard input", "a notebook")
OWN_POOL = """
from domaingap.parallel import spread
print("main module")
def work():
    print("done", *set(spread(abs, [-14] * 20, 2, dict, ())), 2, 4)
"""
OWN_CODE = """
import sys
from domaingap.config import CropConfig
from domaingap.data.faces import FaceDataset, PreparedFaces
from domaingap.data.prepare import prepare_part
from domaingap.data.readers import open_reader
from domaingap.training import train_loader
print("main module")
def work():
    crop = CropConfig(size=32, box="landmarks")
    part = prepare_part(open_reader("300w", {data_root!r}), "helen/trainset", crop, {prepared!r}, workers=2)
    faces = FaceDataset(PreparedFaces([part]), range(14))
    batches = list(train_loader(faces, 4, 0, 2, num_workers=1, steps=(0, 2)))
    print("done", len(part.index()["names"]), len(batches), batches[0]["image"].shape[0])
"""


@pytest.mark.parametrize(
    "way",
    [*WAYS, *(pytest.param(f"{way}, with data", marks=pytest.mark.slow) for way in WAYS)],
)
def test_own_code_starts_processes_that_do_not_run_it_again(data_root: Path, tmp_path: Path, way: str) -> None:
    way, _, more = way.partition(", ")
    code = (OWN_CODE if more else OWN_POOL).format(data_root=str(data_root), prepared=str(tmp_path / "prepared"))
    code += 'if __name__ == "__main__":\n    work()\n' if way == "a guarded script" else "work()\n"
    script = tmp_path / "script.py"
    script.write_text(code)
    command = {
        "standard input": f"{sys.executable} - < {script}",
        "a notebook": f"{sys.executable} -c \"exec(open('{script}').read(), {{'__name__': '__main__'}})\"",
    }.get(way, f"{sys.executable} {script}")
    done = shell(command, timeout=120)
    assert done.returncode == 0 and done.stdout == "main module\ndone 14 2 4\n", done
