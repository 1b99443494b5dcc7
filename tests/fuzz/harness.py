"""Runs inputs in child processes with limits and says what became of each: a crash or a hang ends one child."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import re
import resource
import select
import shutil
import signal
import stat
import sys
import time
import traceback
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.mutate import CANARY, Damage

SECONDS = 10.0
"""More is a hang."""
MEMORY = 1 << 30
"""Bytes that an input may take beyond what the process has: what Pillow needs for the largest picture that it opens without
a warning (89 million pixels, three copies of 3 bytes), and little enough for two at once on a laptop."""
LONGEST = 1_500
"""Characters of a message: one line in a terminal or a log, not a file's content."""
PER_CHILD = 200
"""Inputs before a fresh child takes over."""

FAULTS = ("traceback", "message", "hang", "executed", "crash", "memory")
"""What must not happen, as outcomes: an exception that isn't the user's, a message that isn't one line or names no file, no
answer, code run from the input, a dead process, more memory than allowed."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        target: the damaged file.
        run: a command's arguments, or a function that raises UserError where it refuses.
        names: what a refusal may name instead of the file's name.
    """

    target: Path
    run: list[str] | Callable[[], object]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """Inputs of one kind.

    Attributes:
        name: as the table has it.
        share: how many of 10,000 inputs are of this kind.
        make: writes one into an empty folder, from the folder of valid seeds.
    """

    name: str
    share: int
    make: Callable[[Damage, Path, Path], Case]


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        seed: of all inputs.
        seeds: folder of valid files.
        work: folder to work in.
        keep: where inputs that met a fault are kept.
        whole: valid inputs instead: all of them are to be taken.
    """

    seed: int
    seeds: Path
    work: Path
    keep: Path | None = None
    whole: bool = False


@dataclass
class Outcome:
    """What became of an input: ``taken``, ``refused``, or one of FAULTS."""

    kind: str
    number: int
    outcome: str
    said: str = ""
    where: str = ""
    seconds: float = 0.0
    memory: int = 0

    @property
    def fault(self) -> str:
        """The same for inputs that meet the same fault."""
        return f"{self.outcome}: {self.where}"


@dataclass
class Tally:
    """Outcomes of one kind."""

    inputs: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    memory: int = 0
    seconds: float = 0.0
    faults: dict[str, list[int]] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.inputs += 1
        self.counts[outcome.outcome] = self.counts.get(outcome.outcome, 0) + 1
        self.memory, self.seconds = max(self.memory, outcome.memory), max(self.seconds, outcome.seconds)
        if outcome.outcome in FAULTS:
            self.faults.setdefault(outcome.fault, []).append(outcome.number)
            self.examples.setdefault(outcome.fault, outcome.said)


def random_of(seed: int, kind: str, number: int, whole: bool = False) -> Damage:
    """Input ``number`` of a kind is the same whatever else is run."""
    rng = Damage(f"{seed}/{kind}/{number}")
    rng.number, rng.whole = number, whole
    return rng


def outcomes(kind: Kind, numbers: list[int], plan: Plan) -> Iterator[Outcome]:
    """What becomes of inputs, in their order."""
    left = list(numbers)
    while left:
        batch = left[:PER_CHILD]
        for outcome in _in_child(kind, batch, plan):
            left.remove(outcome.number)
            yield outcome


def _in_child(kind: Kind, batch: list[int], plan: Plan) -> Iterator[Outcome]:
    """Outcomes of a batch from a forked child; ends early where the child does."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            _work(kind, batch, plan, os.fdopen(writer, "w", buffering=1))
        finally:
            os._exit(0)
    os.close(writer)
    current, began, pending = -1, time.monotonic(), b""
    try:
        while True:
            # Twice the time: the child's own alarm says where it hung, unless it hangs in a library.
            ready = select.select([reader], [], [], 2 * SECONDS + (30 if current < 0 else 0))[0]
            chunk = os.read(reader, 1 << 16) if ready else b""
            if not chunk:
                break
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "broken" in message:
                    raise RuntimeError(f"an input can't be made: {message['broken']}")
                if "begin" in message:
                    current, began = message["begin"], time.monotonic()
                else:
                    current = -1
                    yield Outcome(**message)
        if not ready:
            os.kill(child, signal.SIGKILL)
    except GeneratorExit:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reader)
        status = os.waitpid(child, 0)[1]
    if current < 0 and not ready:
        raise RuntimeError(f"an input of {kind.name} isn't made within {2 * SECONDS + 30:.0f} s")
    if current >= 0:
        seconds = time.monotonic() - began
        how = "hang" if not ready else "crash"
        number = os.waitstatus_to_exitcode(status)
        said = f"no answer in {seconds:.0f} s" if how == "hang" else f"the process ended with {number}"
        yield Outcome(kind.name, current, how, said, f"signal {-number}" if number < 0 else f"exit {number}", seconds)


class _HungError(BaseException):
    """Not an Exception: nothing of ours may swallow it."""


def _work(kind: Kind, batch: list[int], plan: Plan, out: Any) -> None:
    """The child: each input with its limits."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)

    def hung(*_: Any) -> None:
        raise _HungError

    signal.signal(signal.SIGALRM, hung)
    faulthandler.disable()
    work, keep = plan.work, plan.keep
    folder = work / f"{kind.name.replace(' ', '-')}-{os.getpid()}"
    os.environ["DOMAINGAP_TRACEBACK"] = "1"
    os.environ["WANDB_MODE"] = "disabled"
    os.environ["COLUMNS"] = "200"
    pretend_ghostscript(work)
    canary = work / f"canary-{os.getpid()}"
    os.environ[CANARY] = str(canary)
    for number in batch:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        os.chdir(folder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd things that are made on purpose
                case = kind.make(random_of(plan.seed, kind.name, number, plan.whole), plan.seeds, folder)
        except Exception:
            print(json.dumps({"broken": f"{kind.name} {number}: {traceback.format_exc()}"}), file=out)
            return
        before = case.target.read_bytes() if case.target.is_file() else b""
        print(json.dumps({"begin": number}), file=out)
        outcome = _one(kind.name, number, case)
        if canary.exists():
            outcome.outcome, outcome.where = "executed", canary.read_text().split("\n")[0]
            canary.unlink()
        if keep is not None and outcome.outcome in FAULTS:
            place = keep / f"{kind.name.replace(' ', '-')}-{number}"
            place.mkdir(parents=True, exist_ok=True)
            (place / case.target.name).write_bytes(before)
            (place / "outcome.txt").write_text(f"{outcome.outcome}: {outcome.where}\n{case.run}\n\n{outcome.said}\n")
        print(json.dumps(vars(outcome)), file=out)
    shutil.rmtree(folder, ignore_errors=True)


def _one(kind: str, number: int, case: Case) -> Outcome:
    """Run an input, and judge what it says."""
    outcome = Outcome(kind, number, "taken")
    own = _memory("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (own + 2 * MEMORY, resource.RLIM_INFINITY))
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    resident = _memory("VmRSS")
    printed, said = io.StringIO(), io.StringIO()
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    code, problem = 0, ""
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said), warnings.catch_warnings():
            code = _run(case.run)
    except _HungError as error:
        outcome.outcome, outcome.where, problem = "hang", _where_hung(error), f"no answer in {SECONDS:.0f} s"
    except RecursionError as error:
        outcome.outcome, outcome.where, problem = "traceback", type(error).__name__, str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    outcome.seconds = round(time.monotonic() - began, 3)
    outcome.memory = max(0, _memory("VmHWM") - resident)
    text = said.getvalue()
    outcome.said = (problem or text)[-4000:]
    if outcome.outcome == "hang":
        return outcome
    if "Traceback (most recent call last)" in text or "a mistake of ours" in text:
        outcome.outcome, outcome.where = "traceback", _where(text)
    elif outcome.memory > MEMORY:
        outcome.outcome, outcome.where = "memory", f"{outcome.memory >> 20} MiB"
    elif fault := _message_fault(code, text, (case.target.name, *case.names)):
        outcome.outcome, outcome.where = "message", fault
    else:
        outcome.outcome = "refused" if code == 2 else "taken"
    return outcome


def _run(run: list[str] | Callable[[], object]) -> int:
    """What the command ends with; a function is judged as the command would."""
    from experiments import __main__ as command

    dispatch = command.dispatch
    try:
        if callable(run):
            command.dispatch = lambda _: (run(), 0)[1]  # type: ignore[assignment]
        command.main(run if isinstance(run, list) else [])
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 1
    finally:
        command.dispatch = dispatch


def _message_fault(code: int, text: str, names: tuple[str, ...]) -> str:
    """What is wrong with what was printed beside the result; empty where nothing is."""
    if noise := re.search(r"^\S+?:\d+: (\w*Warning): (.*)$", text, re.M):
        return f"{noise[1]}: {noise[2][:80]}"
    if code not in (0, 2):
        return f"exit code {code}"
    own = [line for line in text.split("\n") if line.startswith("domaingap: ")]
    if code == 0:
        return ""
    if len(own) != 1 or not text.rstrip("\n").endswith(own[0]):
        return "not one line"
    if len(own[0]) > LONGEST:
        return "a line of more than 1,500 characters"
    if any(unicodedata.category(c) in ("Cc", "Cs", "Co", "Zl", "Zp") for c in own[0]):
        return "characters that can't be shown"
    return "" if any(name in own[0] for name in names) else f"names no file: {re.sub(r'[0-9]+|/[^ ]*', '#', own[0])[:80]}"


def _where(text: str) -> str:
    """The exception's type and the deepest line of ours."""
    frames = re.findall(r'File ".*?/((?:domaingap|experiments)/[^"]+)", line (\d+), in (\S+)', text)
    last = re.findall(r"^(?:domaingap: )?([A-Za-z_.]+(?:Error|Exception|Warning)):", text, re.M)
    place = f" in {frames[-1][0]} {frames[-1][2]}" if frames else ""
    return f"{last[-1] if last else '?'}{place}"


def _where_hung(error: BaseException) -> str:
    place, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if "/domaingap/" in name or "/experiments/" in name:
            place = f"{Path(name).name} {trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    return place


def _memory(what: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB", status, re.M)[1]) << 10  # type: ignore[index]


def pretend_ghostscript(work: Path) -> None:
    """A ``gs`` that leaves the canary: whoever lets Pillow open EPS files runs it."""
    place = work / "bin" / "gs"
    if not place.is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f'#!{sys.executable}\nimport os\nopen(os.environ["{CANARY}"], "a").write("ghostscript\\n")\n')
        place.chmod(place.stat().st_mode | stat.S_IXUSR)
    if not os.environ["PATH"].startswith(str(place.parent)):
        os.environ["PATH"] = f"{place.parent}{os.pathsep}{os.environ['PATH']}"
