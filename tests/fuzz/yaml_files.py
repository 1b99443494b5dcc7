"""YAML: settings of runs, sweep files, and the configuration of ``data prepare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.fuzz.harness import Case
from tests.fuzz.mutate import YAML_PAYLOADS, Damage, encode, mutate_bytes, mutate_text, mutate_tree
from tests.fuzz.seeds import CUT

SETTINGS = Path(__file__).parents[2] / "configs"

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
"""A billion references to one list."""
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 10))
"""A dictionary that takes another nine times, and so on."""
DEEP = 3_000
ODD = (
    "off", "no", "y", "1:30", "0o17", "0b1", "1_000", "2026-11-25", "!!binary aGk=", "!!set {a}", "!!omap [a: 1]", "&a [*a]",
    "&a {x: *a}", "<<: {x: 1}", "? [a, b]\n: 1", "!x y", "!!str 1", "!!float x", "!!int ''", "!!timestamp x", "*nothing",
    "|\n  text", ">-\n  text", "'", '"\\x00"', '"\\uD800"', "@x", "`x", "%x", "- a", "{", "[", "\t", "...", "---\n---", "=",
    "[" * DEEP + "]" * DEEP, "{a: " * DEEP + "}" * DEEP, "9" * 5000, ".inf", "-.inf", ".nan", "~", "0x", "1e400", "?",
    '!!python/tuple [1]', '!!map [1]', '!!seq {a: 1}', '!!bool maybe', '!!null x', '"' + "x" * 20_000 + '"',
)  # fmt: skip


def damaged(rng: Damage, content: Any) -> bytes:
    """YAML with damage to its structure, its text or its bytes, or with what YAML alone can say."""
    if rng.whole:
        return _dump(content).encode()
    if rng.random() < 0.35:
        return encode(rng, _dump(mutate_tree(rng, content)))
    text = _dump(content)
    lines = text.split("\n")
    match rng.randrange(6):
        case 0 | 1:
            return mutate_text(rng, text)
        case 2:
            return mutate_bytes(rng, text.encode())
        case 3:
            payload = rng.choice(YAML_PAYLOADS)
            at = rng.randrange(len(lines))
            lines[at] = lines[at].partition(":")[0] + ": " + payload
            return "\n".join(lines).encode() if rng.random() < 0.8 else payload.encode()
        case 4:
            odd = rng.choice(ODD)
            at = rng.randrange(len(lines))
            lines[at] = odd if rng.random() < 0.1 else lines[at].partition(":")[0] + ": " + odd
            return "\n".join(lines).encode("utf-8", "surrogatepass")
        case _:
            if rng.random() < 0.3:
                at = rng.randrange(len(lines))
                lines[at] = lines[at].partition(":")[0] + ": *a9"
                return (rng.choice((LAUGHS, MERGES)) + "\n".join(lines)).encode()
            return "\n".join([*lines, *rng.sample(lines, min(3, len(lines)))]).encode()


def _dump(value: Any) -> str:
    try:
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    except (yaml.YAMLError, ValueError):
        return yaml.safe_dump(_speakable(value), sort_keys=False)


def _speakable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _speakable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_speakable(item) for item in value]
    return 10**4000 if isinstance(value, int) and abs(value) > 10**4000 else value


def _settings(rng: Damage, recipe: str) -> Any:
    name = rng.choice(("300w.yaml", "generated.yaml"))
    if rng.random() < 0.5:
        return yaml.safe_load((SETTINGS / name).read_text())
    from domaingap.hashing import plain
    from experiments.recipes import RECIPES

    content = plain(RECIPES[recipe].settings())
    return {key: content[key] for key in rng.sample(sorted(content), 6) if content[key] is not None}


def config(rng: Damage, seeds: Path, folder: Path) -> Case:
    target = folder / "settings.yaml"
    recipe = rng.choice(("mixing", "real_only", "fine_tuning"))
    target.write_bytes(damaged(rng, _settings(rng, recipe)))
    if rng.random() < 0.5:
        study = folder / "study.yaml"
        study.write_text(f"method: grid\nparameters:\n  recipe: {{value: {recipe}}}\n  config: {{value: {target}}}\n")
        return Case(target, ["sweep", str(study), "--plan", "--runs_dir", str(folder / "runs")])

    def parse() -> None:
        from domaingap.study.arguments import parse_settings
        from domaingap.study.record import request_key
        from experiments.recipes import RECIPES

        request_key(recipe, parse_settings(RECIPES[recipe], [f"--config={target}"]))

    return Case(target, parse)


def sweep(rng: Damage, seeds: Path, folder: Path) -> Case:
    target = folder / "study.yaml"
    name = rng.choice(("alpha.yaml", "strategies.yaml", "one_seed.yaml"))
    documents = list(yaml.safe_load_all((SETTINGS / "sweeps" / name).read_text()))
    for document in documents:
        document["parameters"]["config"] = {"value": str(SETTINGS / "generated.yaml")}
        for key in ("seed", "n_real", "alpha"):  # few runs: each is parsed
            if "values" in document["parameters"].get(key, {}):
                document["parameters"][key]["values"] = document["parameters"][key]["values"][:2]
    if rng.random() < 0.8:
        target.write_bytes(damaged(rng, rng.choice(documents)))
    else:
        target.write_bytes(b"---\n".join(damaged(rng, document) for document in documents))
    return Case(target, ["sweep", str(target), "--plan", "--runs_dir", str(folder / "runs")])


def prepare_config(rng: Damage, seeds: Path, folder: Path) -> Case:
    target = folder / "settings.yaml"
    content = {"crop": {"size": 32, "channels": "gray", "box": "landmarks", "scale": 1.3}, "augment": {"strength": 1.0}}
    content |= {"real": {"source": "300w", "n_val": 6}, "synthetic": {"source": "face_synthetics"}}
    target.write_bytes(damaged(rng, content))
    where = ["--data_root", str(seeds / "few"), "--prepared_dir", str(folder / "prepared"), "--source", "300w"]
    return Case(
        target, ["data", "prepare", "--config", str(target), *where, *CUT[:2], *CUT[4:]], ("--size", "crop.", "--config")
    )
