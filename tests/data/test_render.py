"""Generated faces in bulk: the same ones however they are made, whole also after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from domaingap.config import CropConfig, GeneratedConfig, TargetConfig
from domaingap.data import render as module
from domaingap.data.boxes import box_from_landmarks
from domaingap.data.crops import apply_transform, crop_transform
from domaingap.data.datamodules import RealDataModule, SyntheticDataModule
from domaingap.data.faces import PreparedFaces
from domaingap.data.generated import Dials, FaceGenerator
from domaingap.data.prepare import PreparedPart, prepare_part
from domaingap.data.readers.generated import GeneratedFaces, GeneratedTarget
from domaingap.errors import UserError

CROP = CropConfig(size=32)
LABELS = ("landmarks_s", "landmarks_r", "landmarks_r_exact", "visible", "pose")


def prepared(config: GeneratedConfig | TargetConfig, part: str, folder: Path, workers: int | None = 1) -> PreparedPart:
    kind = GeneratedFaces if isinstance(config, GeneratedConfig) else GeneratedTarget
    return prepare_part(kind.open(generated=config), part, CROP, folder, workers)


def test_a_face_is_the_same_whatever_is_made_beside_it(tmp_path: Path) -> None:
    """The number of faces, of processes and the order don't matter."""
    many = prepared(GeneratedConfig(n=20, seed=5), "all", tmp_path / "many", workers=2)
    few = prepared(GeneratedConfig(n=7, seed=5), "all", tmp_path / "few")
    np.testing.assert_array_equal(many.crops()[:7], few.crops())
    for name, values in few.index().items():
        np.testing.assert_array_equal(many.index()[name][:7], values, err_msg=name)
    generator = FaceGenerator("synthetic", 5)
    for i in (6, 3, 0):
        face = generator.crop(i, CROP)
        np.testing.assert_array_equal(few.crops()[i], face.image)
        np.testing.assert_array_equal(few.index()["landmarks_r"][i], face.landmarks_r)
    assert not np.array_equal(few.crops()[0], few.crops()[1])
    assert few.meta["fingerprint"] != many.meta["fingerprint"]


def test_index_has_what_other_sources_have_and_every_label(tmp_path: Path) -> None:
    config = TargetConfig(n_train=3, n_test=4, seed=2, label_gap=0.5)
    part = prepared(config, "test", tmp_path)
    index, generator = part.index(), FaceGenerator("target", 2, Dials(0.5, 1.0, 1.0))
    assert index["names"].tolist() == index["photographs"].tolist() == ["500000", "500001", "500002", "500003"]
    for i in range(4):
        face = generator.crop(500_000 + i, CROP)
        np.testing.assert_array_equal(index["landmarks"][i], face.landmarks[:68])
        np.testing.assert_allclose(index["landmarks"][i], (0.5 * (face.landmarks_s + face.landmarks_r))[:68], atol=1e-9)
        for name in LABELS:
            np.testing.assert_array_equal(index[name][i], getattr(face, name), err_msg=name)
        np.testing.assert_array_equal(index["image_to_crop"][i], crop_transform(face.box, CROP))
    assert index["landmarks_s"].shape == index["landmarks_r_exact"].shape == (4, 70, 2)
    assert index["visible"].shape == (4, 70) and index["visible"].dtype == bool and index["pose"].shape == (4, 3)
    assert set(index["box_sources"]) == {"generated"} and index["image_sizes"].tolist() == [[256, 256]] * 4
    assert part.meta["generator"]["dials"] == {"label_gap": 0.5, "appearance_gap": 1.0, "population_gap": 1.0}
    assert part.meta["n_published"] is None and not part.meta["partial"]


def test_crop_and_picture_show_one_face() -> None:
    generator = FaceGenerator("target", 1, Dials(1.0, 1.0, 1.0))
    crop, picture = generator.crop(4, CROP), generator.photograph(4)
    np.testing.assert_allclose(crop.landmarks, picture.landmarks, atol=1e-6)
    np.testing.assert_allclose(crop.box, picture.box, atol=1e-6)


def test_boxes_from_landmarks_where_asked_for(tmp_path: Path) -> None:
    reader = GeneratedFaces.open(generated=GeneratedConfig(n=3))
    crop = CropConfig(size=32, channels="rgb", box="landmarks")
    part = prepare_part(reader, "all", crop, tmp_path)
    index = part.index()
    assert set(index["box_sources"]) == {"landmarks"} and part.crops().shape == (3, 40, 40, 3)
    for points, box in zip(index["landmarks"], index["boxes"], strict=True):
        np.testing.assert_array_equal(box, box_from_landmarks(points))


def test_goes_on_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = GeneratedConfig(n=9, seed=3)
    expected = prepared(config, "all", tmp_path / "whole")
    original, made = module._render_one, []

    def killed(job: tuple[int, int]) -> None:
        if len(made) == 4:
            raise KeyboardInterrupt
        made.append(job[1])
        original(job)

    monkeypatch.setattr(module, "_render_one", killed)
    with pytest.raises(KeyboardInterrupt):
        prepared(config, "all", tmp_path / "killed")
    monkeypatch.setattr(module, "_render_one", lambda job: (made.append(job[1]), original(job))[1])
    # A power cut left one face without its crop, and half of what is known of another.
    (crops,), (faces,) = (tmp_path / "killed").rglob("crops.npy"), (tmp_path / "killed").rglob("faces.npy")
    np.load(crops, mmap_mode="r+")[1] = 0
    np.load(faces, mmap_mode="r+")["landmarks"][3, :40] = 0
    part = prepared(config, "all", tmp_path / "killed")
    assert made == [0, 1, 2, 3, 1, 3, 4, 5, 6, 7, 8], "every whole face is made once"
    np.testing.assert_array_equal(part.crops(), expected.crops())
    for name, values in expected.index().items():
        np.testing.assert_array_equal(part.index()[name], values, err_msg=name)
    assert part.meta == expected.meta and {p.name for p in part.folder.iterdir()} == {
        "crops.npy",
        "index.npz",
        "manifest.json",
    }
    made.clear()
    prepared(config, "all", tmp_path / "killed")
    assert made == []


def test_target_is_split_like_300w(tmp_path: Path) -> None:
    def module_of(n_train: int, seed: int = 0, n_real: int | None = None) -> RealDataModule:
        target = TargetConfig(n_train=n_train, n_test=5)
        data = RealDataModule(
            n_real, n_val=6, seed=seed, crop=CROP, prepared_dir=tmp_path, source="generated_target", generated=target
        )
        data.setup()
        return data

    one, other, few = module_of(20), module_of(20, seed=1), module_of(20, n_real=3)
    assert one.val_positions.tolist() == other.val_positions.tolist() and len(one.val_positions) == 6
    assert one.train_positions.tolist() != other.train_positions.tolist() and len(one.train_positions) == 14
    assert few.train_positions.tolist() == one.train_positions[:3].tolist()
    assert list(one.test_positions) == ["generated"] and len(one.test_positions["generated"]) == 5
    positions = [*one.train_positions, *one.val_positions, *one.test_positions["generated"]]
    assert sorted(positions) == list(range(25))
    larger = module_of(22)
    tested = [data.faces.names[data.test_positions["generated"]].tolist() for data in (one, larger)]
    assert tested[0] == tested[1], "the test faces don't depend on n_train"
    with pytest.raises(UserError, match=r"6 training faces.*takes 6; raise --real\.generated\.n_train"):
        module_of(6)


def test_labels_lie_in_the_crop_where_the_transform_says(tmp_path: Path) -> None:
    part = prepared(GeneratedConfig(n=2), "all", tmp_path)
    faces = PreparedFaces([part])
    expected = apply_transform(crop_transform(part.index()["boxes"][1], CROP), faces.landmarks[1])
    np.testing.assert_allclose(faces.crop_landmarks()[1], expected)


def test_settings_are_checked() -> None:
    for wrong, message in (
        (lambda: GeneratedConfig(n=0), r"synthetic\.generated\.n is 0"),
        (lambda: GeneratedConfig(seed=-1), r"synthetic\.generated\.seed is -1"),
        (lambda: TargetConfig(n_test=0), r"real\.generated\.n_test is 0"),
        (lambda: TargetConfig(n_train=500_001), r"real\.generated\.n_train"),
        (lambda: TargetConfig(label_gap=1.5), r"real\.generated\.label_gap is 1\.5; it lies between 0 and 1"),
        (
            lambda: RealDataModule(source="generated"),
            r"--real\.source 'generated' is unknown; known: 300w, generated_target",
        ),
        (lambda: RealDataModule(parts="helen", source="generated_target"), "generated_target has no parts to choose"),
        (lambda: GeneratedFaces.open().numbers("test"), "no part 'test'; its parts: all"),
    ):
        with pytest.raises(UserError, match=message):
            wrong()


def test_more_synthetic_faces_than_there_are(tmp_path: Path) -> None:
    data = SyntheticDataModule(
        9, crop=CROP, prepared_dir=tmp_path, source="generated", generated=GeneratedConfig(n=8), data_root="no/such/folder"
    )
    with pytest.raises(UserError, match=r"9, but generated has 8 images here; raise --synthetic\.generated\.n"):
        data.setup()
