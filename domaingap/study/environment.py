"""What a run ran on: commit, hardware, versions."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import domaingap
from domaingap.parallel import available_cores


def git_commit() -> str | None:
    """Commit of the checkout, with ``+changes`` where tracked files differ from it; None outside one."""
    folder = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=20).stdout

    try:
        return git("rev-parse", "HEAD").strip() + ("+changes" if git("status", "--porcelain", "-uno").strip() else "")
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, Any]:
    """What the run ran on."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def versions() -> dict[str, str]:
    """Versions of what figures depend on."""
    packages = {name: version(name.replace("_", "-")) for name in ("torch", "pytorch_lightning", "timm", "numpy")}
    return {"domaingap": domaingap.__version__, "python": platform.python_version(), **packages}
