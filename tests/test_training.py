"""One stage: it learns, picks by the rule, is reproducible, and goes on after a kill as if nothing had happened."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from domaingap.config import AugmentConfig, CropConfig, FineTuneConfig, FitConfig, ModelConfig
from domaingap.data.crops import apply_transform
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.data.sampler import StepSampler
from domaingap.errors import UserError
from domaingap.hashing import content_key, write_json
from domaingap.models.regressor import LandmarkRegressor, read_checkpoint
from domaingap.stages import Stage, StageStore, checkpoint_seen
from domaingap.training import _read_done, predict, resolve
from domaingap.watched import Looks, watched

MODEL = ModelConfig(backbone="test_resnet")
FIT = FitConfig(steps=12, batch_size=4, val_every=3, precision="32", lr=1e-3)


@pytest.fixture
def data(data_root: Path, prepared_dir: Path) -> RealDataModule:
    module = RealDataModule(
        data_root=data_root,
        prepared_dir=prepared_dir,
        n_val=6,
        crop=CropConfig(size=32, box="landmarks"),
        augment=AugmentConfig(),
    )
    module.setup()
    return module


def fit(root: Path, data: RealDataModule, config: FitConfig = FIT, seed: int = 0, **options: object) -> Stage:
    return StageStore(root).fit("real", MODEL, data, {"val": data}, config, seed, **options)  # type: ignore[arg-type]


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(path)["state_dict"]
    return state


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_it_learns(data: RealDataModule, tmp_path: Path) -> None:
    stage = fit(tmp_path, data, replace(FIT, steps=240, val_every=40, batch_size=16, lr=5e-3, ema=0.9))
    first, last = stage.history[0], stage.history[-1]
    assert last["train/loss"] < 0.5 * first["train/loss"]
    assert last["val/nme"] < 0.7 * first["val/nme"]


def test_same_seed_same_weights_other_seed_others(data: RealDataModule, tmp_path: Path) -> None:
    a, b, c = (fit(tmp_path / name, data, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    assert same(weights(a.checkpoint("budget")), weights(b.checkpoint("budget")))
    assert [p["val/nme"] for p in a.history] == [p["val/nme"] for p in b.history]
    assert not same(weights(a.checkpoint("budget")), weights(c.checkpoint("budget")))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_stage_goes_on_as_if_nothing_had_happened(
    data: RealDataModule, tmp_path: Path, ema: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(FIT, ema=ema)
    whole = fit(tmp_path / "whole", data, config)
    points = []

    def kill(point: dict[str, float]) -> None:
        points.append(point)
        if len(points) == 3:
            raise SystemExit  # after the third validation, before its checkpoint is written

    with pytest.raises(SystemExit):
        fit(tmp_path / "killed", data, config, on_point=kill)
    (folder,) = (tmp_path / "killed" / "stages").iterdir()
    assert list(folder.glob(".training-*/resume.ckpt")) and not (folder / "manifest.json").exists()
    steps, original = [], LandmarkRegressor.training_step

    def counted(self: LandmarkRegressor, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        steps.append(self.global_step)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(LandmarkRegressor, "training_step", counted)
    points.clear()
    resumed = fit(tmp_path / "killed", data, config, on_point=points.append)
    assert steps == [6, 7, 8, 9, 10, 11], "the killed third part is trained again, the first two aren't"
    assert [p["step"] for p in points] == [3, 6, 9, 12], "curves are whole"
    for selection in ("real_val", "budget"):
        assert same(weights(resumed.checkpoint(selection)), weights(whole.checkpoint(selection))), selection
    assert [p["val/nme"] for p in resumed.history] == [p["val/nme"] for p in whole.history]
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_answers_on_the_same_faces_are_told_at_every_validation(data: RealDataModule, tmp_path: Path, ema: float) -> None:
    """Of the weights that are validated; after a kill, and of a stage that is found trained, as by one that wasn't."""
    config, told = replace(FIT, ema=ema), dict[str, list[Looks]]()

    def listen(name: str, until: int = 100) -> list[Looks]:
        def on_look(answers: Looks) -> None:
            told.setdefault(name, []).append(answers)
            if len(told[name]) == until:
                raise SystemExit

        with contextlib.suppress(SystemExit):
            fit(tmp_path / name.partition(" ")[0], data, config, on_look=on_look)
        return told.pop(name)

    whole = listen("whole")
    assert len(listen("killed", until=3)) == 3
    for name in ("killed again", "whole once more"):
        again = listen(name)
        assert [one.keys() for one in again] == [{"val"}] * 4
        assert all((a["val"] == b["val"]).all() for a, b in zip(whole, again, strict=True)), name
    dataset = data.val_set()
    places = watched(dataset)
    names = dataset.faces.names[dataset.positions[places]].tolist()
    assert len(set(names)) == 6 and names == sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    answers = predict(fit(tmp_path / "whole", data, config).load("budget"), dataset).prediction[places]
    crops = apply_transform(dataset.faces.image_to_crop[dataset.positions[places]], answers)
    assert whole[-1]["val"] == pytest.approx(crops, abs=0.02), "in 16 bits, which at 32 are steps of a 64th"
    assert not (whole[0]["val"] == whole[-1]["val"]).all()


def test_a_stage_from_before_they_were_kept_has_no_such_answers(data: RealDataModule, tmp_path: Path) -> None:
    stage, told, points = fit(tmp_path, data), [], []
    entry = stage.entry.folder / f"watched-{stage.sets['val']}.npz"
    content = json.loads((manifest := stage.entry.folder / "manifest.json").read_text())
    del content["files"][entry.name]
    entry.unlink()
    content.pop("sha256")
    write_json(manifest, {**content, "sha256": content_key(content, 64)})
    fit(tmp_path, data, on_point=points.append, on_look=told.append)
    assert told == [] and [point["step"] for point in points] == [3, 6, 9, 12]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_stage_that_is_killed_after_its_last_step_ends_with_the_averaged_weights(
    data: RealDataModule, tmp_path: Path, ema: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(FIT, ema=ema, lr=1e-2)
    whole, points = fit(tmp_path / "whole", data, config), []
    with monkeypatch.context() as patch:
        patch.setattr("domaingap.training.write_json", lambda *_: sys.exit())
        with pytest.raises(SystemExit):
            fit(tmp_path / "killed", data, config)
    monkeypatch.setattr(LandmarkRegressor, "training_step", lambda *_: pytest.fail("trained again"))
    ended = fit(tmp_path / "killed", data, config, on_point=points.append)
    assert [point["step"] for point in points] == [3, 6, 9, 12]
    for selection in ("real_val", "budget"):
        assert same(weights(ended.checkpoint(selection)), weights(whole.checkpoint(selection))), selection
    assert [p["val/nme"] for p in ended.history] == [p["val/nme"] for p in whole.history]


@pytest.mark.parametrize("damage", ["cut off", "zeros", "best is missing", "best is damaged"])
def test_a_damaged_checkpoint_is_set_aside_and_the_stage_trained_anew(
    damage: str, data: RealDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep goes on at night without anybody who deletes a file."""
    whole = fit(tmp_path / "whole", data)
    with pytest.raises(SystemExit):
        fit(tmp_path / "killed", data, on_point=lambda point: sys.exit() if point["step"] == 6 else None)
    (resume,), (best,) = tmp_path.rglob("resume.ckpt"), tmp_path.rglob(".training-*/best-val.ckpt")
    file, content = (best if "best" in damage else resume), resume.read_bytes()
    content = bytes(len(content)) if damage == "zeros" else content[:5000]
    file.write_bytes(content) if "missing" not in damage else file.unlink()
    points: list[dict[str, float]] = []
    stage = fit(tmp_path / "killed", data, on_point=points.append)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert str(file) in line and "it is now damaged-resume.ckpt, and this stage is trained from its beginning" in line
    assert [point["step"] for point in points] == [3, 6, 9, 12]
    for selection in ("real_val", "budget"):
        assert same(weights(stage.checkpoint(selection)), weights(whole.checkpoint(selection)))
    assert not list(stage.entry.folder.glob(".*")) and not list(stage.entry.folder.glob("damaged*"))


def test_a_killed_stage_is_not_mixed_with_one_that_validates_on_other_faces(
    data: RealDataModule, data_root: Path, prepared_dir: Path, tmp_path: Path
) -> None:
    """Validation is no part of a network's identity, but what a killed call left has a best checkpoint on its own faces."""
    options: Any = {"data_root": data_root, "prepared_dir": prepared_dir, "crop": CropConfig(size=32, box="landmarks")}
    synthetic, other = SyntheticDataModule(**options), RealDataModule(n_val=8, **options)

    def train(root: Path, module: RealDataModule, **more: Any) -> Stage:
        return StageStore(root).fit("synthetic", MODEL, synthetic, {"val": module}, replace(FIT, lr=1e-2), 0, **more)

    with pytest.raises(SystemExit):
        train(tmp_path / "killed", other, on_point=lambda point: sys.exit() if point["step"] == 9 else None)
    found, whole = train(tmp_path / "killed", data), train(tmp_path / "whole", data)
    assert found.entry.key == whole.entry.key
    assert [p["val/nme"] for p in found.history] == [p["val/nme"] for p in whole.history]
    assert found.best["val"]["val/nme"] == whole.best["val"]["val/nme"]
    assert same(weights(found.checkpoint("real_val")), weights(whole.checkpoint("real_val")))


def test_ctrl_c_stays_ctrl_c(data: RealDataModule, tmp_path: Path) -> None:
    def interrupt(point: dict[str, float]) -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, data, on_point=interrupt)
    assert signal.getsignal(signal.SIGINT) == before, "a second Ctrl-C works too"


def test_kept_checkpoints_are_what_validation_saw(data: RealDataModule, tmp_path: Path) -> None:
    """The best checkpoint holds the averaged weights that scored best, not the raw ones of that step."""
    stage = fit(tmp_path, data, replace(FIT, steps=24, lr=5e-3, ema=0.9))
    best = min(stage.history, key=lambda point: point["val/nme"])
    assert stage.picked_step("real_val") == best["step"]
    dataset = data.val_set()
    nme = predict(stage.load("real_val"), dataset).nme().mean()
    assert nme == pytest.approx(best["val/nme"], rel=1e-4)
    last = predict(stage.load("budget"), dataset).nme().mean()
    assert last == pytest.approx(stage.history[-1]["val/nme"], rel=1e-4)


def test_found_again_by_content(data: RealDataModule, tmp_path: Path) -> None:
    first, points = fit(tmp_path, data), []
    again = fit(tmp_path, data, on_point=points.append)
    assert again.entry.reused and again.entry.folder == first.entry.folder
    assert points == first.history, "a reused stage's curves are shown again"
    for changed in (replace(FIT, lr=2e-3), replace(FIT, steps=6)):
        assert not fit(tmp_path, data, changed).entry.reused
    assert not fit(tmp_path, data, seed=4).entry.reused


def test_stages_hand_over_weights_only(data: RealDataModule, tmp_path: Path) -> None:
    first = fit(tmp_path, data)
    # With a learning rate of (nearly) nothing, what comes out is what went in.
    still = replace(FIT, steps=2, val_every=1, lr=1e-12, weight_decay=0.0, ema=0.0)
    second = fit(tmp_path, data, still, start=(first, "budget"))
    before, after = weights(first.checkpoint("budget")), weights(second.checkpoint("budget"))
    for key in before:
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(after[key], before[key], rtol=1e-5, atol=1e-7)
    assert second.seen("budget").steps == 12 + 2
    other = fit(tmp_path, data, still, start=(first, "real_val"))
    assert other.entry.key != second.entry.key, "the checkpoint that it started from is part of its identity"


def test_resolve() -> None:
    fit = resolve(FitConfig(steps=3200), 900, "resnet18")
    assert fit.val_every == 200 and fit.precision in ("32", "bf16") and fit.num_workers == 0
    assert resolve(FitConfig(steps=30, val_every=7), 900, "resnet18").val_every == 7
    assert resolve(FitConfig(steps=1009), 900, "resnet18").val_every == 64, "a sixteenth, rounded up"
    assert resolve(FitConfig(steps=375), 900, "resnet18").val_every == 25, "in equal parts where there are about sixteen"
    assert resolve(FitConfig(steps=5, val_every=100), 900, "resnet18").val_every == 5, "once, at the end"
    original = resolve(FitConfig(epochs=100, batch_size=32), 9000, "resnet18")
    assert (original.steps, original.val_every) == (28200, 282)
    for bad in (
        {"steps": 0},
        {"val_every": -3},
        {"val_every": 0},
        {"epochs": 0},
        {"lr": -1.0},
        {"ema": 1.0},
        {"batch_size": 0},
    ):
        with pytest.raises(UserError):
            FitConfig(**bad)  # type: ignore[arg-type]


def test_fine_tuning_takes_a_quarter_by_default() -> None:
    first = resolve(FitConfig(steps=3200, lr=2e-3), 900, "resnet18")
    second = FineTuneConfig().of(first)
    assert (second.steps, second.lr) == (800, pytest.approx(5e-4))
    assert FineTuneConfig(steps=10, lr=1e-3).of(first).steps == 10


def test_divergence_is_named(data: RealDataModule, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverged.*lower --fit.lr"):
        fit(tmp_path, data, replace(FIT, optimizer="adam", schedule="constant", lr=1e30))


def test_steps_of_any_number(data: RealDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last validation comes after the last step, however many steps lie between two; and every step is one."""
    seen, original = [], LandmarkRegressor.training_step

    def counted(self: LandmarkRegressor, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        seen.append(batch["position"].tolist())
        return original(self, batch, batch_idx)

    monkeypatch.setattr(LandmarkRegressor, "training_step", counted)
    stage = fit(tmp_path, data, replace(FIT, steps=11, val_every=4))
    assert [point["step"] for point in stage.history] == [4, 8, 11]
    drawn = [data.train_positions[[p for _, p, _ in StepSampler(28, 4, 0).step(i)]].tolist() for i in range(11)]
    assert seen == drawn, "the same draws as in one epoch"
    network = stage.load("budget")
    whole = fit(tmp_path / "whole", data, replace(FIT, steps=11, val_every=11))
    assert same(network.state_dict(), whole.load("budget").state_dict()), (
        "when it is validated doesn't change what is learnt"
    )
    assert stage.seen("budget").steps == 11


def test_validation_sets_are_no_part_of_a_network(
    data: RealDataModule, data_root: Path, prepared_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is validated on other faces is the same network; its best checkpoint for these is added to it."""

    def other(n_val: int) -> RealDataModule:
        return RealDataModule(
            data_root=data_root, prepared_dir=prepared_dir, n_val=n_val, crop=CropConfig(size=32, box="landmarks")
        )

    store, synthetic = (
        StageStore(tmp_path),
        SyntheticDataModule(data_root=data_root, prepared_dir=prepared_dir, crop=CropConfig(size=32, box="landmarks")),
    )

    def train(name: str, module: RealDataModule, **options: Any) -> Stage:
        return store.fit("synthetic", MODEL, synthetic, {name: module}, FIT, 0, **options)

    first = train("val", data, also=lambda: [other(5), data])
    assert not first.entry.reused
    before = {path.name: path.read_bytes() for path in first.entry.folder.iterdir() if path.suffix == ".ckpt"}
    assert len(before) == 3, "its own best, another's best, and the last"
    capsys.readouterr()
    assert train("val", other(5)).entry.reused, "trained beside these faces, too"
    third = train("val", other(4))
    assert not third.entry.reused and third.entry.key == first.entry.key
    assert "not beside these validation faces; trained once more" in capsys.readouterr().err
    after = {path.name: path.read_bytes() for path in first.entry.folder.iterdir() if path.suffix == ".ckpt"}
    assert len(after) == 4 and before.items() <= after.items(), "nothing that was there is changed"
    assert train("val", other(4)).entry.reused and train("val", data).entry.reused
    # Each picks on its own faces.
    for module, stage in ((data, first), (other(4), third)):
        dataset = module.val_set()
        nme = predict(stage.load("real_val"), dataset).nme().mean()
        assert nme == pytest.approx(min(point["val/nme"] for point in stage.history), rel=1e-4)
    assert third.seen("real_val").selected_on == other(4).val_set().seen().real
    assert first.seen("budget").selected_on == frozenset()


def test_checkpoints_say_what_they_have_seen(data: RealDataModule, tmp_path: Path) -> None:
    first = fit(tmp_path, data)
    for selection in ("budget", "real_val"):
        seen = checkpoint_seen(first.checkpoint(selection))
        assert seen.real == {f"300w/{name}" for name in data.faces.names[data.train_positions]}
        assert seen.steps == 12 and seen.complete and len(seen.licences) == 1
        assert len(seen.selected_on) == (6 if selection == "real_val" else 0)
    second = fit(tmp_path, data, replace(FIT, steps=2), start=first.checkpoint("budget"))
    assert second.seen("budget").steps == 12 + 2
    stripped = tmp_path / "other.ckpt"
    content = read_checkpoint(first.checkpoint("budget"))
    del content["seen"]
    torch.save(content, stripped)
    unknown = fit(tmp_path, data, replace(FIT, steps=2), start=stripped).seen("budget")
    assert not unknown.complete and unknown.steps == 2


@pytest.mark.parametrize(
    "change", ["loops", "optimizer_states", "callbacks", "global_step", "state_dict", "step beyond", "momentum"]
)
def test_a_resume_checkpoint_that_is_another_is_set_aside(
    change: str, data: RealDataModule, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path, data, on_point=lambda point: sys.exit() if point["step"] == 6 else None)
    (path,) = tmp_path.rglob("resume.ckpt")
    content = torch.load(path, weights_only=True)
    if change == "momentum":
        content["optimizer_states"][0]["state"][0]["exp_avg_sq"] = "x"  # found at the first step only
    elif change == "step beyond":
        content["global_step"] = 10_000
    else:
        content[change] = [] if change == "optimizer_states" else {"x": torch.zeros(1)}
    torch.save(content, path)
    if change in ("loops", "state_dict", "momentum"):  # found by those that load it, into a network that is then half loaded
        with pytest.raises(UserError, match=r"resume\.ckpt: damaged; it is now damaged-resume\.ckpt; give the same command"):
            fit(tmp_path, data)
    assert fit(tmp_path, data).fit["steps"] == FIT.steps
    if change not in ("loops", "state_dict", "momentum"):
        assert "it is now damaged-resume.ckpt, and this stage is trained from its" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"history": [], "best": {}, "seconds": 1}', "[" * 10_000])
def test_the_end_of_a_stage_that_is_damaged_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "done.json").write_text(content)
    with pytest.raises(UserError, match=r"done\.json: not of this stage"):
        _read_done(tmp_path / "done.json", ["val"])
