"""Files that the program writes itself: checkpoints, npz, results, manifests, lines of JSON."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.harness import Case
from tests.fuzz.kinds import damaged_json, dump_json, prepare, start_training
from tests.fuzz.mutate import Damage, Payload, mutate_bytes, mutate_text, mutate_tree
from tests.fuzz.seeds import RUN_OPTIONS, add_bomb

# Checkpoints


def _odd_tensor(rng: Damage, value: Any) -> Any:
    """Another tensor, or something that has a tensor's looks."""
    import torch

    one = torch.zeros(1)
    shape = tuple(value.shape) if isinstance(value, torch.Tensor) else (68, 2)
    odd = (
        lambda: one, lambda: torch.zeros(0), lambda: torch.zeros(3, 3), lambda: one.expand(1 << 40),
        lambda: one.expand(shape or (1,)),        lambda: torch.zeros(shape, dtype=torch.int64),
        lambda: torch.zeros(shape, dtype=torch.complex64),
        lambda: {"x": value}, lambda: _shared(60),        lambda: torch.zeros(shape, dtype=torch.bool),
        lambda: torch.zeros(shape, dtype=torch.float16), lambda: [value],
        lambda: torch.full(shape, float("nan")), lambda: torch.full(shape, float("inf")), lambda: torch.full(shape, 1e38),
        lambda: torch.zeros(shape).to_sparse() if shape else one, lambda: torch.empty(shape, device="meta"),
        lambda: torch.nn.Parameter(torch.zeros(shape)), lambda: torch.zeros(shape).unsqueeze(0), lambda: np.zeros(3),
        lambda: torch.quantize_per_tensor(torch.zeros(shape), 0.1, 0, torch.quint8),
    )  # fmt: skip
    return rng.choice(odd)()


PAIRS = b"\x80\x02}X\x0a\x00\x00\x00state_dict})q\x00" + b"".join(
    b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60)
)
PAIRS += b"K\x01ss."
"""A pickle whose key is a pair of one pair, and so on, 60 times: its hash takes for ever."""


def _shared(depth: int) -> Any:
    """A list that holds another twice, and so on: whoever prints it never ends."""
    value: Any = [1]
    for _ in range(depth):
        value = [value, value]
    return value


def damaged_checkpoint(rng: Damage, data: bytes, bomb: bytes) -> bytes:
    """A checkpoint with damage to its content, its archive or its bytes."""
    import torch

    draw = rng.random()
    if rng.whole:
        return data
    if draw < 0.25:
        return mutate_bytes(rng, data)
    if draw < 0.4:
        return damaged_archive(rng, data, bomb, ".raw")
    if draw < 0.5:
        file = io.BytesIO()
        match rng.randrange(7):
            case 0:
                return pickle.dumps(Payload())
            case 6:
                return rewrite(data, lambda name, content: PAIRS if name.endswith("data.pkl") else content)
            case 1:
                torch.save(Payload(), file)
            case 2:
                torch.save({"state_dict": Payload(), "hyper_parameters": {}}, file)
            case 3:
                torch.save({"state_dict": {}, "seen": Payload()}, file, _use_new_zipfile_serialization=False)
            case 4:
                torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), file)
            case _:
                content = torch.load(io.BytesIO(data), weights_only=True)
                torch.save(content, file, _use_new_zipfile_serialization=False)
                return mutate_bytes(rng, file.getvalue())
        return file.getvalue()
    if draw < 0.6:
        return _other_sizes(rng, data)
    content = torch.load(io.BytesIO(data), weights_only=True)
    content = mutate_tree(rng, _as_dict(content), (_odd_tensor,))
    for _ in range(20):
        try:
            file = io.BytesIO()
            torch.save(content, file)
            return file.getvalue()
        except Exception:  # what can't be saved is no file
            content = mutate_tree(rng, _as_dict(torch.load(io.BytesIO(data), weights_only=True)), (_odd_tensor,))
    return data


def _as_dict(content: Any) -> Any:
    return {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}


def _other_sizes(rng: Damage, data: bytes) -> bytes:
    """Numbers of the pickle (sizes, strides, offsets of tensors) that belong to nothing in the archive."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return content
        result = bytearray(content)
        short = [i for i, byte in enumerate(result) if byte in b"KMJ"]  # opcodes of small integers
        for _ in range(rng.choice((1, 1, 3))):
            at = rng.choice(short)
            end = at + {ord("K"): 2, ord("M"): 3, ord("J"): 5}[result[at]]
            result[at:end] = b"J" + struct.pack("<i", rng.choice((0, -1, 1, 2**31 - 1, -(2**31), 10**9, 4096)))
            short = [i for i, byte in enumerate(result) if byte in b"KMJ"]
        return bytes(result)

    return rewrite(data, change)


def rewrite(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """An archive with its members changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w") as new:
        for info in old.infolist():
            new.writestr(zipfile.ZipInfo(info.filename), change(info.filename, old.read(info)))
    return file.getvalue()


NAMES = ("../../escaped", "/tmp/escaped", "", "x" * 70_000, "a\x00b", "\u202e")
"""Of members that no archive should have."""


def damaged_archive(rng: Damage, data: bytes, bomb: bytes, suffix: str) -> bytes:
    """A zip whose members are missing, doubled, renamed, packed otherwise, or larger than anything."""
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = [(info.filename, old.read(info)) for info in old.infolist()]
    file = io.BytesIO()
    at = rng.randrange(len(members))
    name, content = members[at]
    packing, doubled, bombed = zipfile.ZIP_STORED, False, ""
    match rng.randrange(9):
        case 0:
            del members[at]
        case 1:
            doubled = True
        case 2:
            members[at] = (
                rng.choice(("../../escaped", "/tmp/escaped", "", "x" * 70_000, "a\x00b", "\u202e", name + "/")),
                content,
            )
        case 3:
            packing = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        case 4:
            bombed = name
            del members[at]
        case 5:
            bombed = rng.choice(("x", "../x", name.rpartition("/")[0] + "/data/999", "common/extra.npy"))
        case 6:
            members[at] = (name, mutate_bytes(rng, content))
        case 7:
            members[at] = (name, b"")
        case _:
            members[at] = (name, members[rng.randrange(len(members))][1])
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", packing) as new:
        warnings.simplefilter("ignore")
        for member, content in [*members, *([members[at % len(members)]] if doubled and members else [])]:
            try:
                new.writestr(member, content)
            except (ValueError, struct.error, IndexError):
                new.writestr("x", content)
        if bombed:
            add_bomb(new, bombed, bomb)
    result = file.getvalue()
    return mutate_bytes(rng, result) if rng.random() < 0.1 else result


def _copy_run(seeds: Path, name: str, folder: Path, own: str) -> tuple[Path, Path]:
    """A run of links, but for one file of its own."""
    run, made = seeds / name, folder / "runs" / name
    for path in run.resolve().rglob("*"):
        copy = made / path.relative_to(run.resolve())
        if path.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)
    target = made / own
    content = target.read_bytes()
    target.unlink()
    target.write_bytes(content)
    return made, target


def _bomb(seeds: Path, name: str) -> bytes:
    return (seeds / name).read_bytes()


def network(rng: Damage, seeds: Path, folder: Path) -> Case:
    made, target = _copy_run(seeds, "real_only", folder, "checkpoints/answering.ckpt")
    data = damaged_checkpoint(rng, target.read_bytes(), _bomb(seeds, "bomb.raw.z"))
    draw = rng.random()
    if draw < 0.15:
        target.write_bytes(data)
        return Case(target, ["evaluate", str(made), "--on", "common"])
    target = folder / "other.ckpt"
    target.write_bytes(data)
    if draw < 0.55:
        return Case(target, ["evaluate", str(made), "--on", "common", "--checkpoint", str(target)])
    if draw < 0.6:
        where = [f"--data_root={seeds / 'data'}", f"--prepared_dir={seeds / 'prepared'}", f"--runs_dir={folder / 'new'}"]
        return Case(target, ["run", "real_only", *where, *RUN_OPTIONS, f"--model.init_from={target}"])

    def start() -> None:
        from domaingap.models.regressor import LandmarkRegressor, load_weights
        from domaingap.stages import checkpoint_seen

        seen = checkpoint_seen(target)
        load_weights(LandmarkRegressor("test_resnet", 32), target)
        (seen | seen).trained(3).plain()

    return Case(target, start)


def adapter(rng: Damage, seeds: Path, folder: Path) -> Case:
    made, target = _copy_run(seeds, "label_adaptation", folder, "checkpoints/adapter_predictions.ckpt")
    target.write_bytes(damaged_checkpoint(rng, target.read_bytes(), _bomb(seeds, "bomb.raw.z")))
    if rng.random() < 0.5:
        return Case(target, ["evaluate", str(made), "--on", "common"])

    def load() -> None:
        from domaingap.models.label_adapter import LabelAdapter
        from tests.conftest import MEAN_FACE

        LabelAdapter.load(target).adapt(MEAN_FACE[None])

    return Case(target, load)


def resume(rng: Damage, seeds: Path, folder: Path) -> Case:
    made = folder / "training"
    shutil.copytree(seeds / "training", made)
    target = made / "resume.ckpt"
    if rng.random() < 0.2:
        target = made / "done.json"
        row = {"step": 4, "seconds": 1.0, "train/loss": 0.1, "val/nme": 5.0, "val/loss": 0.1}
        target.write_bytes(damaged_json(rng, {"history": [row], "best": {"val": row}, "seconds": 1.0}))
    else:
        target.write_bytes(damaged_checkpoint(rng, target.read_bytes(), _bomb(seeds, "bomb.raw.z")))
    return Case(target, lambda: start_training(seeds, made))


# Arrays


def damaged_npz(rng: Damage, data: bytes, bomb: bytes) -> bytes:
    """Arrays with damage to their content, their headers, their archive or its bytes."""
    draw = rng.random()
    if rng.whole:
        return data
    if draw < 0.3:
        return mutate_bytes(rng, data)
    if draw < 0.5:
        return damaged_archive(rng, data, bomb, ".npy")
    if draw < 0.65:
        return rewrite(data, lambda name, content: _other_header(rng, content) if rng.random() < 0.2 else content)
    with np.load(io.BytesIO(data)) as arrays:
        content = dict(arrays)
    for _ in range(rng.choice((1, 1, 2, 4))):
        name = rng.choice(sorted(content))
        match rng.randrange(8):
            case 0:
                del content[name]
            case 1:
                content[rng.choice((name + "x", "x", "a/b/c", "../x", name.upper()))] = content.pop(name)
            case 2:
                other = rng.choice(sorted(content))
                content[name] = content[other]
            case _:
                content[name] = _odd_array(rng, content[name])
        if not content:
            break
    file = io.BytesIO()
    # Object arrays are saved as pickles: reading them would run the payload.
    np.savez(file, allow_pickle=True, **content)  # type: ignore[arg-type]
    return file.getvalue()


def _odd_array(rng: Damage, value: Any) -> Any:
    n = len(value) if value.ndim else 1
    numeric = value if value.dtype.kind in "fiub" else np.zeros((n, 68, 2))
    # Of dates and mixed types NumPy makes no short text.
    textual = value if value.dtype.kind not in "mMV" else numeric
    broken = numeric.astype(float)
    if broken.size:
        broken.flat[rng.randrange(broken.size)] = rng.choice((np.nan, np.inf, -np.inf, 1e308, 1e200))
    odd = (
        lambda: value[: n // 2], lambda: value[:0], lambda: value.reshape(-1), lambda: value[None], lambda: np.float64(1),
        lambda: np.concatenate([value, value]), lambda: numeric.astype(np.int64), lambda: numeric.astype(np.complex128),
        lambda: numeric.astype(np.float16), lambda: textual.astype("U5"), lambda: textual.astype("S5"), lambda: broken,
        lambda: broken,        lambda: np.array([Payload()] * n, dtype=object), lambda: value.astype(object),
        lambda: numeric.astype(">f8"),
        lambda: numeric.astype(float) * 0, lambda: numeric.astype(float) * 1e300, lambda: np.zeros(n, "M8[s]"),
        lambda: np.zeros(n, [("a", "f8")]), lambda: np.full(n, "x\n[red]\x1b[31m"), lambda: np.array(["x"] * n),
        lambda: np.zeros((n, 51, 2)), lambda: np.zeros((n, 68, 3)), lambda: np.zeros((n, 0, 2)), lambda: np.zeros(n, "V7"),
        lambda: np.asfortranarray(numeric.astype(float)),
    )  # fmt: skip
    return rng.choice(odd)()


HEADS = ("__import__('os').system('true')", "{" * 2000, "(" * 200 + ")" * 200, "{}", "9" * 5000, "{'shape': ")
"""What stands where a dictionary should."""


def _other_header(rng: Damage, content: bytes) -> bytes:
    """An array behind a header that claims something else."""
    if rng.whole:
        return content
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, order, kind = np.lib.format.read_array_header_1_0(file)
        else:
            shape, order, kind = np.lib.format.read_array_header_2_0(file)
    except ValueError:
        return content
    rest = file.read()
    n = shape[0] if shape else 1
    claims = (
        {"shape": (10**12,)}, {"shape": (-1, 2)}, {"shape": (n, 68, 10**9)}, {"shape": (2**63,)}, {"shape": (0,)}, {"x": 1},
        {"shape": (10**10, 0)}, {"shape": "x"}, {"shape": (1.5,)}, {"shape": [n]}, {"descr": "|O"}, {"descr": "<f16"},
        {"descr": "x"}, {"descr": [("a", "<f8"), ("a", "<f8")]}, {"descr": "<U1000000000"}, {"descr": "|V0"},
        {"fortran_order": True}, {"fortran_order": "x"}, {"descr": "<f8", "shape": ()}, {"descr": "|S0"},
        {"shape": (1,) * 40},
    )  # fmt: skip
    claim = rng.choice(claims)
    head = repr({"descr": kind.str, "fortran_order": order, "shape": shape} | claim)
    if rng.random() < 0.15:
        head = rng.choice(HEADS)
    body = (head + " " * (-(len(head) + 13) % 64) + "\n").encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(body)) + body + rest


def predictions(rng: Damage, seeds: Path, folder: Path) -> Case:
    made, target = _copy_run(seeds, "label_adaptation", folder, "predictions.npz")
    target.write_bytes(damaged_npz(rng, target.read_bytes(), _bomb(seeds, "bomb.npy.z")))
    if rng.random() < 0.3:
        _copy_run(seeds, "real_only", folder, "result.json")
        return Case(target, ["report", str(folder / "runs"), "--style", "pairs"])
    return Case(target, ["evaluate", str(made), "--on", rng.choice(("common", "val")), "--from_predictions"])


def _part(seeds: Path, folder: Path, kept: str = "part") -> Path:
    """A copy of a prepared part; where its crops lie."""
    shutil.copytree(seeds / kept, folder / "prepared")
    return next((folder / "prepared").glob("300w/afw/crops-*"))


def _use_part(seeds: Path, folder: Path) -> None:
    """What a run does with a prepared part."""
    from domaingap.config import CropConfig
    from domaingap.data.faces import FaceDataset, PreparedFaces
    from domaingap.data.prepare import prepare_part
    from domaingap.data.readers import open_source

    part = prepare_part(
        open_source("300w", seeds / "few"), "afw", CropConfig(size=32, box="landmarks"), folder / "prepared", 1
    )
    faces = PreparedFaces([part])
    dataset = FaceDataset(faces, np.arange(len(faces)))
    dataset.__getitems__(list(range(len(dataset))))
    faces.fingerprint(np.arange(len(faces)))
    faces.seen(np.arange(len(faces)))


def prepared(rng: Damage, seeds: Path, folder: Path) -> Case:
    made = _part(seeds, folder)
    target = made / rng.choice(("index.npz", "index.npz", "crops.npy"))
    if target.name == "index.npz":
        target.write_bytes(damaged_npz(rng, target.read_bytes(), _bomb(seeds, "bomb.npy.z")))
    else:
        content = target.read_bytes()
        target.write_bytes(_other_header(rng, content) if rng.random() < 0.5 else mutate_bytes(rng, content))
    if rng.random() < 0.5:
        sign(made)
    return Case(target, lambda: _use_part(seeds, folder), ("crops-",))


def sign(folder: Path) -> None:
    """Write a manifest anew, as the store would have: its checksums fit the damage."""
    from domaingap import store

    content = json.loads((folder / store.MANIFEST).read_text())
    del content["sha256"]
    for name in content["files"]:
        content["files"][name] = {**store._stat(folder / name), "sha256": store.file_digest(folder / name)}
    (folder / store.MANIFEST).write_text(json.dumps({**content, "sha256": store._own_digest(content)}))


# JSON


def result(rng: Damage, seeds: Path, folder: Path) -> Case:
    made, target = _copy_run(seeds, rng.choice(("label_adaptation", "real_only")), folder, "result.json")
    target.write_bytes(damaged_json(rng, json.loads(target.read_text())))
    other = "real_only" if made.name == "label_adaptation" else "label_adaptation"
    draw = rng.random()
    if draw < 0.3:
        return Case(target, ["evaluate", str(made), *(["--from_predictions"] if draw < 0.1 else [])], (made.name,))
    _copy_run(seeds, other, folder, "result.json")
    if draw < 0.9:
        style = rng.choice(("gap", "gap", "strategies", "pairs", "runs"))
        return Case(target, ["report", str(folder / "runs"), "--style", style], ("runs",))
    study = folder / "study.yaml"
    study.write_text("method: grid\nparameters:\n  recipe: {value: real_only}\n")
    return Case(target, ["sweep", str(study), "--plan", "--runs_dir", str(folder / "runs")], ("runs",))


def manifest(rng: Damage, seeds: Path, folder: Path) -> Case:
    target = _part(seeds, folder) / "manifest.json"
    target.write_bytes(damaged_json(rng, json.loads(target.read_text())))
    if rng.random() < 0.1:
        shutil.copytree(seeds / "runs", folder / "runs", symlinks=True)
        for path in folder.glob("runs/*/result.json"):
            path.unlink()
        target = next(folder.glob("runs/stages/network-*/manifest.json"))
        target.write_bytes(damaged_json(rng, json.loads(target.read_text())))
        where = [f"--data_root={seeds / 'data'}", f"--prepared_dir={seeds / 'prepared'}", f"--runs_dir={folder / 'runs'}"]
        recipe = rng.choice(("label_adaptation", "real_only"))
        more = ["--adapter.kind=linear"] if recipe == "label_adaptation" else []
        return Case(target, ["run", recipe, *where, *RUN_OPTIONS, *more])
    if rng.random() < 0.3:
        return prepare_again(seeds, folder, target)
    return Case(target, lambda: _use_part(seeds, folder), ("crops-",))


def prepare_again(seeds: Path, folder: Path, target: Path, box: str = "landmarks") -> Case:
    """The command that finds the part prepared."""
    case = prepare(folder, "300w", target)
    assert isinstance(case.run, list)
    arguments = [str(seeds / "few") if argument == str(folder) else argument for argument in case.run]
    return Case(target, [box if argument == "landmarks" else argument for argument in arguments])


def lines(rng: Damage, seeds: Path, folder: Path) -> Case:
    """``seen.jsonl``, ``boxes-*.jsonl``, and ``rows.jsonl`` of a part that isn't finished."""

    def damage(path: Path) -> None:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        at = rng.randrange(len(rows))
        if rng.random() < 0.6:
            texts = [dump_json(mutate_tree(rng, row) if i == at else row) for i, row in enumerate(rows)]
            path.write_bytes("\n".join([*texts, ""]).encode("utf-8", "surrogatepass"))
        else:
            path.write_bytes(
                mutate_text(rng, path.read_text()) if rng.random() < 0.5 else mutate_bytes(rng, path.read_bytes())
            )

    draw = rng.random()
    if draw < 0.4:
        _part(seeds, folder)
        target = folder / "prepared" / "300w" / "afw" / "seen.jsonl"
        damage(target)
        return prepare_again(seeds, folder, target)
    if draw < 0.8:
        made = _part(seeds, folder)
        (made / "manifest.json").unlink()
        (made / "index.npz").unlink()
        target = made / "rows.jsonl"
        shutil.copyfile(seeds / "rows.jsonl", target)
        damage(target)
        if rng.random() < 0.3:
            crops = made / "crops.npy"
            content = crops.read_bytes()
            crops.write_bytes(_other_header(rng, content) if rng.random() < 0.5 else mutate_bytes(rng, content))
        return prepare_again(seeds, folder, target)
    made = _part(seeds, folder, "detected")
    shutil.rmtree(made)
    target = next((folder / "prepared" / "300w" / "afw").glob("boxes-*.jsonl"))
    damage(target)
    return prepare_again(seeds, folder, target, "mtcnn")


def generated(rng: Damage, seeds: Path, folder: Path) -> Case:
    made = folder / "generated"
    shutil.copytree(seeds / "generated", made)
    target = made / "generated.json"
    content = damaged_json(rng, json.loads(target.read_text()))
    if rng.random() < 0.3:
        target.unlink()
        target = made / ".generating.json"
    target.write_bytes(content)
    size = ["--n", "1", "--size", "32", "--workers", "1"]
    return Case(target, ["data", "generate", *size, "--out", str(made)], ("generated",))
