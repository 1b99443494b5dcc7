"""``python -m tests.fuzz``: malformed inputs of every kind, and a table of what became of them.

Input i of a kind and a seed is always the same one, so that a fault is looked at again with --only KIND --numbers i.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

COLUMNS = ("taken", "refused", "traceback", "message", "hang", "executed", "crash", "memory")


def fuzz(
    n: int,
    seed: int,
    only: list[str] | None = None,
    numbers: list[int] | None = None,
    keep: Path | None = None,
    work: Path | None = None,
    whole: bool = False,
    say: Any = print,
) -> dict[str, Any]:
    """Run ``n`` inputs over all kinds, or over some; figures by kind.

    Args:
        n: inputs over all kinds by their shares; those of a kind are the first of it.
        seed: of all inputs.
        only: names of kinds.
        numbers: these inputs of each kind instead.
        keep: folder for the inputs that met a fault, with what was said.
        work: folder to work in; a new one, taken away again, by default.
        whole: valid inputs instead: all of them are to be taken.
        say: takes each line of progress.
    """
    from tests.fuzz.harness import Plan, Tally, outcomes
    from tests.fuzz.kinds import KINDS
    from tests.fuzz.seeds import make_seeds

    kinds = [kind for kind in KINDS if only is None or kind.name in only]
    if only is not None and (unknown := set(only) - {kind.name for kind in KINDS}):
        sys.exit(f"no kind {sorted(unknown)[0]!r}; there are {', '.join(kind.name for kind in KINDS)}")
    total = sum(kind.share for kind in kinds)
    place = work or Path(tempfile.mkdtemp(prefix="domaingap-fuzz-"))
    began, figures = time.monotonic(), {}
    try:
        plan = Plan(seed, make_seeds(place), place, keep, whole)
        for kind in kinds:
            tally, since = Tally(), time.monotonic()
            asked = numbers if numbers is not None else list(range(max(1, round(n * kind.share / total))))
            for outcome in outcomes(kind, asked, plan):
                tally.add(outcome)
            figures[kind.name] = vars(tally) | {"took": round(time.monotonic() - since, 1)}
            faults = sum(map(len, tally.faults.values()))
            say(f"{kind.name}: {tally.inputs} inputs, {faults} with a fault, {time.monotonic() - since:.0f} s")
            for fault, where in tally.faults.items():
                said = tally.examples[fault].strip().split("\n")[-1][:200]
                say(f"  {len(where)} x {fault}; first input {where[0]}: {said}")
    finally:
        if work is None:
            shutil.rmtree(place, ignore_errors=True)
    return {"seed": seed, "n": sum(f["inputs"] for f in figures.values()), "kinds": figures,
            "seconds": round(time.monotonic() - began, 1)}  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The figures in Markdown."""
    rows = ["| kind | inputs | " + " | ".join(COLUMNS) + " | slowest, s | memory, MiB |"]
    rows.append("|---|" + "---|" * (len(COLUMNS) + 3))
    kinds = result["kinds"]
    for name, figures in kinds.items():
        counts = " | ".join(str(figures["counts"].get(column, 0)) for column in COLUMNS)
        rows.append(f"| {name} | {figures['inputs']} | {counts} | {figures['seconds']:.1f} | {figures['memory'] >> 20} |")
    totals = " | ".join(str(sum(f["counts"].get(column, 0) for f in kinds.values())) for column in COLUMNS)
    slowest = max((f["seconds"] for f in kinds.values()), default=0)
    memory = max((f["memory"] for f in kinds.values()), default=0)
    rows.append(f"| all | {result['n']} | {totals} | {slowest:.1f} | {memory >> 20} |")
    return "\n".join(rows)


def main() -> int:
    """0 where no input met a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="inputs over all kinds (10000)")
    parser.add_argument("--seed", type=int, default=0, help="of all inputs (0)")
    parser.add_argument("--only", action="append", metavar="KIND", help="a kind; may be given several times")
    parser.add_argument("--numbers", type=lambda text: [int(i) for i in text.split(",")], help="these inputs of each kind")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the inputs that met a fault, with what was said")
    parser.add_argument("--work", type=Path, metavar="DIR", help="work here, and leave it (its seeds are made once)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures to this JSON file")
    parser.add_argument("--whole", action="store_true", help="valid inputs instead, as a control: all are to be taken")
    options = parser.parse_args()
    keep, work = (None if path is None else path.resolve() for path in (options.keep, options.work))
    out = options.out.resolve() if options.out is not None else None
    which = (options.n, options.seed, options.only, options.numbers)
    result = fuzz(*which, keep, work, options.whole, lambda line: print(line, flush=True))
    print(f"\n{table(result)}\n\n{result['n']} inputs, seed {result['seed']}, {result['seconds']:.0f} s")
    if out is not None:
        out.write_text(json.dumps(result, indent=2) + "\n")
    return int(any(figures["faults"] for figures in result["kinds"].values()))


if __name__ == "__main__":
    sys.exit(main())
