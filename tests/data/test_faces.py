"""Sampler, dataset and data modules."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from domaingap.config import CropConfig
from domaingap.data.datamodules import MixedDataModule, RealDataModule, SyntheticDataModule
from domaingap.data.faces import StepSampler
from domaingap.errors import UserError
from domaingap.models.regressor import LandmarkRegressor
from domaingap.training import train_loader

CROP = CropConfig(size=32, box="landmarks")


def real(data_root: Path, prepared_dir: Path, **options: object) -> RealDataModule:
    settings = {"n_val": 6, "crop": CROP, "batch_size": 4, **options}
    module = RealDataModule(data_root=data_root, prepared_dir=prepared_dir, **settings)  # type: ignore[arg-type]
    module.setup()
    return module


def synthetic(data_root: Path, prepared_dir: Path, **options: object) -> SyntheticDataModule:
    module = SyntheticDataModule(data_root=data_root, prepared_dir=prepared_dir, crop=CROP, **options)  # type: ignore[arg-type]
    module.setup()
    return module


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (3, 8), (8, 8), (1, 3)])
def test_sampler_goes_through_all_faces_again_and_again(n: int, batch: int) -> None:
    sampler = StepSampler(n, batch, seed=1, steps_per_epoch=12)
    draws = list(sampler)
    assert len(draws) == len(sampler) == 12 * batch
    positions = [position for _, position, _ in draws]
    for start in range(0, len(positions) - n + 1, n):
        assert sorted(positions[start : start + n]) == list(range(n)), "each pass draws every face once"
    for i, (step, position, repeat) in enumerate(draws):
        assert step == i // batch
        assert repeat == positions[step * batch : i].count(position), "a face drawn twice in a step gets another look"
    if n > 3:
        assert positions[:n] != positions[n : 2 * n], "every pass has an order of its own"


def test_sampler_continues_where_it_would_have_been() -> None:
    whole = list(StepSampler(7, 3, seed=5, steps_per_epoch=20))
    parts = StepSampler(7, 3, seed=5, steps_per_epoch=4)
    pieces = []
    for epoch in range(5):
        parts.set_epoch(epoch)
        pieces += list(parts)
    assert pieces == whole
    assert parts.step(11) == whole[33:36]
    assert list(StepSampler(7, 3, seed=6, steps_per_epoch=20)) != whole


def test_batches_do_not_depend_on_the_number_of_workers(data_root: Path, prepared_dir: Path) -> None:
    dataset = real(data_root, prepared_dir).train_set()
    batches = {n: list(train_loader(dataset, 4, 3, 5, n)) for n in (0, 2)}
    for plain, parallel in zip(batches[0], batches[2], strict=True):
        for key in plain:
            assert torch.equal(plain[key], parallel[key]), key


def test_validation_and_test_are_never_augmented(data_root: Path, prepared_dir: Path) -> None:
    module = real(data_root, prepared_dir)
    for dataset in (module.val_set(), module.test_set("common")):
        a, b = dataset.__getitems__([0, 1]), dataset.__getitems__([0, 1])
        assert torch.equal(a["image"], b["image"])
        inner = module.faces.stored_crop(int(dataset.positions[0]))[4:-4, 4:-4]
        np.testing.assert_array_equal(a["image"][0, 0], inner)
    a, b = module.train_set()[(0, 0, 0)], module.train_set()[(1, 0, 0)]
    assert not torch.equal(a["image"], b["image"])


def test_crop_points_map_back_to_the_picture(data_root: Path, prepared_dir: Path) -> None:
    from domaingap.models.regressor import to_image

    dataset = real(data_root, prepared_dir).val_set()
    batch = dataset.__getitems__(range(6))
    back = to_image(batch["landmarks"], batch["crop_to_image"])
    assert float((back - batch["truth"]).abs().max()) < 1e-3


def test_real_splits(data_root: Path, prepared_dir: Path) -> None:
    modules = [real(data_root, prepared_dir, seed=seed) for seed in (0, 1)]
    faces = modules[0].faces
    names = [set(faces.names[m.val_positions]) for m in modules]
    assert len(names[0]) == 6 and names[0] == names[1], "one validation subset for every seed"
    assert not np.array_equal(modules[0].train_positions, modules[1].train_positions)
    for module in modules:
        sides = [
            set(faces.photographs[p]) for p in (module.train_positions, module.val_positions, module.test_positions["full"])
        ]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert len(modules[0].train_positions) + 6 == 12 + 14 + 8
    tests = {name: len(p) for name, p in modules[0].test_positions.items()}
    assert tests == {"common": 11, "challenging": 3, "full": 14}


def test_subsets_are_nested(data_root: Path, prepared_dir: Path) -> None:
    real_subsets = [real(data_root, prepared_dir, n_real=n, seed=3).train_positions.tolist() for n in (2, 5, 11, 28)]
    for small, large in itertools.pairwise(real_subsets):
        assert large[: len(small)] == small
    sets = [synthetic(data_root, prepared_dir, n_synthetic=n, seed=3) for n in (4, 10, 20, 24)]
    for small_set, large_set in itertools.pairwise(sets):
        assert set(small_set.train_positions) < set(large_set.train_positions)
        assert set(small_set.val_positions) <= set(large_set.val_positions)
        assert not set(large_set.train_positions) & set(large_set.val_positions)
    assert [len(s.train_positions) + len(s.val_positions) for s in sets] == [4, 10, 20, 24]
    assert len(sets[2].val_positions) == 2, "a tenth is held out by default"


def test_parts_choose(data_root: Path, prepared_dir: Path) -> None:
    module = real(data_root, prepared_dir, parts="afw,helen")
    assert set(module.faces.parts) == {"afw", "helen/trainset", "helen/testset"}
    assert {name: len(p) for name, p in module.test_positions.items()} == {"common": 7}
    with pytest.raises(UserError, match="no part 'wflw'"):
        real(data_root, prepared_dir, parts="afw,wflw")
    with pytest.raises(UserError, match="private isn't in"):
        real(data_root, prepared_dir, parts="private")


def test_full_needs_both_halves(data_root: Path, prepared_dir: Path) -> None:
    assert set(real(data_root, prepared_dir, parts="afw,lfpw,ibug").test_positions) == {"common", "challenging", "full"}
    assert set(real(data_root, prepared_dir, parts="afw,ibug").test_positions) == {"challenging"}


def test_too_much_asked_for(data_root: Path, prepared_dir: Path) -> None:
    with pytest.raises(UserError, match=r"--n_real is 29, but there are 28 training faces"):
        real(data_root, prepared_dir, n_real=29)
    with pytest.raises(UserError, match=r"34 training faces, but the validation subset alone takes 300"):
        real(data_root, prepared_dir, n_val=300)
    with pytest.raises(UserError, match=r"--n_synthetic is 25, but face_synthetics has 24"):
        synthetic(data_root, prepared_dir, n_synthetic=25)
    for options in ({"n_synthetic": 1}, {"val_split": 0.0}):
        with pytest.raises(UserError):
            synthetic(data_root, prepared_dir, **options)
    with pytest.raises(UserError, match="--n_real is 0"):
        real(data_root, prepared_dir, n_real=0)


def test_renderings_of_one_actor_stay_together(data_root: Path, prepared_dir: Path) -> None:
    module = synthetic(data_root, prepared_dir, source="dgfaces", val_split=0.34)
    groups = module.faces.photographs
    assert not set(groups[module.train_positions]) & set(groups[module.val_positions])


@pytest.mark.parametrize("kind", ["real", "synthetic", "mixed"])
def test_modules_plug_into_anybodys_trainer(data_root: Path, prepared_dir: Path, tmp_path: Path, kind: str) -> None:
    modules = {"real": real(data_root, prepared_dir), "synthetic": synthetic(data_root, prepared_dir)}
    module = modules.get(kind) or MixedDataModule(modules["synthetic"], modules["real"], alpha=0.25, batch_size=8)
    model = LandmarkRegressor("test_resnet", input_size=32)
    trainer = pl.Trainer(
        max_steps=3,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        accelerator="cpu",
        default_root_dir=tmp_path,
    )
    trainer.fit(model, module)
    (scores,) = trainer.validate(model, module, verbose=False)
    assert 0 < scores["val/nme"] < 200


def test_mixed_batches_hold_both_domains_as_each_alone_would(data_root: Path, prepared_dir: Path) -> None:
    one, other = real(data_root, prepared_dir), synthetic(data_root, prepared_dir)
    moved = other.adapted(lambda points: points + [3.0, 0.0], "right")
    batches = list(MixedDataModule(moved, one, alpha=0.375, batch_size=8, steps_per_epoch=5).train_dataloader())
    n = len(one.faces)
    for batch in batches:
        assert batch["domain"].tolist() == [0] * 5 + [1] * 3
        assert ((batch["position"] >= n) == (batch["domain"] == 1)).all()
        assert batch["image"].shape == (8, 1, 32, 32) and batch["landmarks"].shape == (8, 68, 2)
    whole = [list(MixedDataModule(moved, one, alpha, 8, steps_per_epoch=5).train_dataloader()) for alpha in (0, 1)]
    for batches, module in zip(whole, (one, moved), strict=True):
        alone = list(train_loader(module.train_set(), 8, 0, 5, 0))
        for a, b in zip(batches, alone, strict=True):
            assert torch.equal(a["image"], b["image"]) and torch.equal(a["landmarks"], b["landmarks"])


def test_adapted_labels_are_other_labels_of_the_same_faces(data_root: Path, prepared_dir: Path) -> None:
    module = synthetic(data_root, prepared_dir)
    moved = module.adapted(lambda points: points + [3.0, -1.0], "some-adapter")
    assert np.array_equal(moved.train_positions, module.train_positions)
    assert moved.faces.landmarks == pytest.approx(module.faces.landmarks + [3.0, -1.0])
    one, other = (m.plain_train_set()[0] for m in (module, moved))
    assert torch.equal(one["image"], other["image"])
    # In crop pixels the step is smaller or larger, as the crop is.
    scale = module.faces.image_to_crop[module.train_positions[0], 0, 0]
    assert (other["landmarks"] - one["landmarks"]).numpy() == pytest.approx(np.tile([3.0, -1.0], (68, 1)) * scale, abs=1e-4)
    assert moved.train_set().fingerprint() != module.train_set().fingerprint()
    again = module.adapted(lambda points: points, "other-adapter")
    assert again.train_set().fingerprint() != moved.train_set().fingerprint()
    assert module.faces.label_key is None, "the module itself keeps its labels"
    with pytest.raises(ValueError, match="expected landmarks"):
        module.adapted(lambda points: points[:3], "x")


def test_domains_that_look_different_are_not_mixed(data_root: Path, prepared_dir: Path) -> None:
    one, other = real(data_root, prepared_dir), synthetic(data_root, prepared_dir, seed=1)
    with pytest.raises(UserError, match="share crop, augmentation and seed"):
        MixedDataModule(other, one)
    with pytest.raises(UserError, match="--alpha is -0.1"):
        MixedDataModule(synthetic(data_root, prepared_dir), one, alpha=-0.1)


@pytest.mark.slow
def test_mixed_batches_do_not_depend_on_the_number_of_workers(data_root: Path, prepared_dir: Path) -> None:
    def batches(workers: int) -> list[torch.Tensor]:
        module = MixedDataModule(
            synthetic(data_root, prepared_dir), real(data_root, prepared_dir), 0.4, 5, workers, steps_per_epoch=4
        )
        return [batch["image"] for batch in module.train_dataloader()]

    assert all(torch.equal(a, b) for a, b in zip(batches(0), batches(2), strict=True))
