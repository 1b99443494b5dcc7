"""A Slurm cluster of this machine's own, for tests with the marker ``slurm``; see setup.sh."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SETUP = Path(__file__).with_name("setup.sh")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """The configuration of a running cluster; SLURM_CONF names it."""
    if shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin") is None or os.geteuid() != 0:
        pytest.skip("needs root and Debian's slurm-wlm and munge, see tests/slurm/setup.sh")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Not below pytest's folders: names of sockets are short.
    folder = tempfile.mkdtemp(prefix="dg-slurm-")
    environment = {**os.environ, "DOMAINGAP_SLURM_PORT": str(min(port, 65000))}
    subprocess.run([SETUP, "start", folder], env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = f"{folder}/slurm.conf"
    try:
        yield Path(folder, "slurm.conf")
    finally:
        subprocess.run([SETUP, "stop", folder], env=environment, check=True, timeout=120)
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
