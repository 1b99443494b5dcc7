"""What surrounds a command: its streams, the signals that end it, and the shell that it was started from."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from domaingap.errors import FULL
from domaingap.hashing import private_folder

ENDING = (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))
PATIENCE_S = 8.0
"""For shutting down after such a signal: those who send it kill after ten seconds, some of them."""


class Terminated(BaseException):
    """A signal asks the process to end. No Exception: what goes on after errors doesn't go on after this."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.name = signal.Signals(number).name
        self.code = 128 + number


def again(what: str) -> str:
    """The last line of a command that was ended from outside."""
    return f"domaingap: {what}; give the same command again to go on"


@contextlib.contextmanager
def ends_on_signals() -> Iterator[None]:
    """Raise :class:`Terminated` where a signal asks to end, unless the parent had it ignored, as nohup does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    ending: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if ending:  # once is enough
            return
        ending.append(number)
        terminated = Terminated(number)
        threading.Thread(target=_insist, args=(terminated,), daemon=True).start()
        raise terminated

    ours = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        if not ending:
            for number in ours:
                signal.signal(number, signal.SIG_DFL)


def _insist(terminated: Terminated) -> None:
    """End the process where shutting down takes too long, or some library has swallowed the exception."""
    time.sleep(PATIENCE_S)
    with contextlib.suppress(OSError):
        # Not through the stream, whose lock the main thread may hold; and only where somebody reads.
        if select.select([], [2], [], 0.5)[1]:
            os.write(2, f"{again(f'terminated ({terminated.name})')}\n".encode())
    os._exit(terminated.code)


def lost_output() -> OSError | None:
    """Why standard output, a file on a full disk, isn't whole. A reader or a terminal that went away is no reason."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    error = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "lost", None)
    return error if isinstance(error, OSError) and error.errno in FULL else None


def tame_shell() -> None:
    """Let what the shell set, and nobody meant for this command, not end it. For the program, not for callers in Python."""
    _open_descriptors()
    _leave_deleted_folder()
    # Files that nobody may read, not even who wrote them.
    os.umask(os.umask(0o077) & 0o077)
    _lift_limit_on_files()
    if any("error" in option for option in sys.warnoptions):
        # PYTHONWARNINGS=error: every library of this size warns somewhere.
        sys.warnoptions.clear()
        os.environ.pop("PYTHONWARNINGS", None)
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if name in os.environ and not os.environ[name].isdigit():
            del os.environ[name]  # Lightning reads a number while it is imported
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        value = os.environ.get(name)
        if value is not None and (not value.strip().isdigit() or int(value) < 1):
            del os.environ[name]
    if "TMPDIR" in os.environ:
        with contextlib.suppress(OSError):
            os.environ["TMPDIR"] = tempfile.gettempdir()  # another one where that isn't there or can't be written
    if os.path.expanduser("~") == "~" and (home := private_folder("home")):
        os.environ["HOME"] = str(home)  # a user without an entry: libraries would make a folder called ~


HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""What lets the C library ask for huge pages (its manual: Memory Allocation Tunables). It is read when a program starts."""
OFFERED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
"""Where Linux says whether memory is in huge pages: always, where asked for (madvise), or never."""


def use_huge_pages() -> None:
    """Start this program anew with its memory in huge pages, where the system has them for those who ask.

    A training step frees its memory and takes it anew; in pages of 4 KB that is a tenth of its time on processors or more
    (``domaingap bench`` measures it). Nothing is done where GLIBC_TUNABLES is set, to whatever. The processes that are
    started from here have it, too.
    """
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
        offered = "[madvise]" in OFFERED.read_text(encoding="ascii")
        current = tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= (2, 35)
    except (AttributeError, OSError, ValueError):  # another system, or another C library
        return
    if name != "glibc" or not current or not offered or not sys.executable or HUGE_PAGES.keys() & os.environ.keys():
        return
    os.environ |= HUGE_PAGES
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _open_descriptors() -> None:
    """Open the standard descriptors that are closed, or the next file that is opened would be taken for one of them."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                continue
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))


def _lift_limit_on_files() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


NOWHERE = "/proc/self/fdinfo"
"""A folder in which nothing can be made, nor found by a name that somebody would give."""


def _leave_deleted_folder() -> None:
    """Some libraries can't be loaded where the working directory was deleted. Absolute paths need none."""
    try:
        os.getcwd()
    except OSError:
        with contextlib.suppress(OSError):
            os.chdir(NOWHERE)


def where_relative_paths_lead() -> str:
    """Behind a message: what is wrong with relative paths, if anything is."""
    try:
        gone = os.getcwd().endswith(NOWHERE.rpartition("/")[2])
    except OSError:
        gone = True
    return " (the working directory was deleted; change to one that is there, or give absolute paths)" if gone else ""
