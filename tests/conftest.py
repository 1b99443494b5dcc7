"""Tiny data in the releases' own formats, and the command line as a function."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started with & from a script: commands that tests start would ignore Ctrl-C, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
# A test that forgets to turn W&B off must not look for a login on the machine.
os.environ["WANDB_MODE"] = "disabled"

MEAN_FACE = np.array(
    [
        *((8 + 5 * i, 40 + 26 * np.sin(np.pi * i / 16)) for i in range(17)),
        *((14 + 5 * i, 24 - (i == 2)) for i in range(5)),
        *((62 + 5 * i, 24 - (i == 2)) for i in range(5)),
        *((48, 32 + 4 * i) for i in range(4)),
        *((40 + 4 * i, 48 + (i == 2)) for i in range(5)),
        *((22, 32), (26, 30), (30, 30), (34, 32), (30, 34), (26, 34)),
        *((62, 32), (66, 30), (70, 30), (74, 32), (70, 34), (66, 34)),
        *((36 + 4 * i, 56 - (i in (2, 4))) for i in range(7)),
        *((56 - 4 * i, 59 + (i == 2)) for i in range(5)),
        *((38, 57), (44, 57), (48, 57), (52, 57), (58, 57), (52, 58), (48, 58), (44, 58)),
    ],
    dtype=float,
)
"""A face [68, 2] in a 96 px picture."""


def make_face(rng: np.random.Generator, gray: bool = False, side: int = 96) -> tuple[Image.Image, np.ndarray]:
    """A picture with blobs where the landmarks are, and the landmarks, 0-based."""
    angle, scale = rng.normal(0, 0.1), rng.uniform(0.7, 0.9)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (MEAN_FACE - 48) @ rotation.T + side / 2 + rng.normal(0, 3, 2) + rng.normal(0, 0.7, (68, 2))
    canvas = rng.integers(60, 120, (side, side, 3)).astype(np.uint8)
    for x, y in points.round().astype(int):
        canvas[max(y - 1, 0) : max(y + 2, 0), max(x - 1, 0) : max(x + 2, 0)] = 230
    image = Image.fromarray(canvas).filter(ImageFilter.GaussianBlur(1))
    return (image.convert("L") if gray else image), points


def write_pts(path: Path, points: np.ndarray) -> None:
    """0-based points in the release's format: 1-based, with its uneven spacing and trailing blanks."""
    lines = ["version: 1", "n_points:  68", "{"]
    lines += [f"{x + 1:.6f} {y + 1:.6f}" + (" " if i % 3 == 0 else "") for i, (x, y) in enumerate(points)]
    path.write_text("\n".join([*lines, "}", ""]))


def write_300w(root: Path, seed: int = 0) -> dict[str, np.ndarray]:
    """A small 300-W with its traps; returns the true points by name."""
    rng = np.random.default_rng(seed)
    truth = {}
    plan = {
        "afw": [f"{100 + i // 2}_{i % 2 + 1}.jpg" for i in range(12)],
        "helen/trainset": [f"{200 + i}_1.jpg" for i in range(14)],
        "lfpw/trainset": [f"image_{i:04d}.png" for i in range(8)],
        "helen/testset": [f"{300 + i // 2}_{i % 2 + 1}.jpg" for i in range(7)],
        "lfpw/testset": [f"image_{i:04d}.png" for i in range(4)],
        "ibug": ["image_003_1.jpg", "image_003_2.jpg", "image_092 _01.jpg"],
    }
    for part, names in plan.items():
        folder = root / part
        folder.mkdir(parents=True)
        for i, name in enumerate(names):
            image, points = make_face(rng, gray=i % 5 == 3)
            image.save(folder / name)
            write_pts((folder / name).with_suffix(".pts"), points)
            truth[f"{part}/{Path(name).stem}"] = points
    mirrored, points = make_face(rng)
    mirrored.save(root / "afw" / "100_1_mirror.jpg")
    write_pts(root / "afw" / "100_1_mirror.pts", points)
    return truth


def write_face_synthetics(root: Path, n: int = 24, seed: int = 1) -> dict[str, np.ndarray]:
    """A small FaceSynthetics; returns the true 70 points by name."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True)
    truth = {}
    for i in range(n):
        image, points = make_face(rng)
        pupils = np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0)])
        points = np.concatenate([points, pupils])
        image.save(root / f"{i:06d}.png")
        Image.new("L", image.size).save(root / f"{i:06d}_seg.png")
        (root / f"{i:06d}_ldmks.txt").write_text("\n".join(f"{x:.3f} {y:.3f}" for x, y in points))
        truth[f"{i:06d}"] = points
    return truth


def write_dgfaces(root: Path, n: int = 6, seed: int = 2) -> dict[str, np.ndarray]:
    """A small DGFaces: x of the JSON is the row; returns the true points by name."""
    rng = np.random.default_rng(seed)
    truth = {}
    for i in range(n):
        image, points = make_face(rng)
        camera = root / f"datapoint_{i:05d}" / "camera"
        (camera / "key_points").mkdir(parents=True)
        rgba = Image.merge("RGBA", (*image.split(), Image.new("L", image.size, 255)))
        rgba.save(camera / "visible_spectrum_01.png")
        standard = {f"{k + 1:02d}": {"pixel_2d": {"x": y, "y": x}, "is_visible": "true"} for k, (x, y) in enumerate(points)}
        content = {"version": "2.0.0", "face": {"standard": standard}}
        (camera / "key_points" / "face_standard_key_points.json").write_text(json.dumps(content))
        (camera.parent / "actor_metadata.json").write_text(json.dumps({"identity_id": f"actor-{i // 2}"}))
        truth[f"datapoint_{i:05d}"] = points
    return truth


def write_synthface(root: Path, identities: int = 5, frames: int = 2, seed: int = 3) -> dict[str, np.ndarray]:
    """A small SynthFace, with the masks that nobody reads; returns the true 70 points by name."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    truth = {}
    for name in (f"{identity:07d}_{frame:03d}" for identity in range(identities) for frame in range(frames)):
        image, points = make_face(rng)
        points = np.concatenate([points, [points[36:42].mean(axis=0), points[42:48].mean(axis=0)]])
        image.save(root / f"img_{name}.jpg")
        for mask in ("parts", "hair"):
            Image.new("L", image.size).save(root / f"segm_{mask}_{name}.png")
        turned = np.eye(3).tolist()
        camera = {"world_to_camera": np.eye(4).tolist(), "camera_to_image": turned, "resolution": list(image.size)}
        content = {"camera": camera, "head_pose": turned, "left_eye_pose": turned, "right_eye_pose": turned}
        content |= {"landmarks": {"2D": points.tolist()}}
        (root / f"metadata_{name}.json").write_text(json.dumps(content, indent=4))
        truth[name] = points
    return truth


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test on a slow machine isn't one that hangs."""
    for item in items:
        if item.get_closest_marker("slow") is not None and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny data sets in the real formats; never written to."""
    root = tmp_path_factory.mktemp("data")
    write_300w(root / "300w")
    write_face_synthetics(root / "face_synthetics")
    write_dgfaces(root / "dgfaces")
    write_synthface(root / "synth_face")
    return root


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared crops, shared by the tests."""
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The real samples, in the releases' own layouts."""
    root = Path(os.environ.get("DOMAINGAP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "300w").is_dir():
        pytest.skip(f"no real samples at {root}; set DOMAINGAP_DATA to a folder with 300w/, face_synthetics/, dgfaces/")
    return root


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """The ``domaingap`` command in this process."""
    from experiments.__main__ import main

    def call(*arguments: object) -> Answer:
        capsys.readouterr()
        given = [str(argument) for argument in arguments]
        if given[0] == "sweep" and not any(argument.startswith("--jobs") for argument in given):
            given.append("--jobs=1")  # in this process: others would import everything once more
        with pytest.raises(SystemExit) as exit:
            main(given)
        captured = capsys.readouterr()
        return Answer(int(exit.value.code or 0), captured.out, captured.err)

    return call


def quick_options(data_root: Path, prepared_dir: Path, runs_dir: Path) -> list[str]:
    """Options of a recipe that finishes in a second or two."""
    return [
        f"--data_root={data_root}",
        f"--prepared_dir={prepared_dir}",
        f"--runs_dir={runs_dir}",
        "--real.n_val=6",
        "--crop.size=32",
        "--crop.box=landmarks",
        "--model.backbone=test_resnet",
        "--fit.steps=4",
        "--fit.val_every=2",
        "--fit.batch_size=4",
        "--fit.precision=32",
        "--wandb.mode=off",
    ]


@pytest.fixture
def quick(data_root: Path, prepared_dir: Path, tmp_path: Path) -> list[str]:
    """Likewise, in a folder of the test's own."""
    return quick_options(data_root, prepared_dir, tmp_path / "runs")


@contextlib.contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Permissions count below a folder, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534)
    # Pytest's own folders above are for their owner alone; how many there are depends on how the tests are run.
    scratch = Path(tempfile.gettempdir())
    for parent in folder.parents:
        if scratch not in parent.parents:
            break
        parent.chmod(0o755)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; skipped where there is none. Not for the session: Playwright keeps an event loop running."""
    from tests.browser import ARGUMENTS, CHROMIUM

    if CHROMIUM is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on this machine")
    api = pytest.importorskip("playwright.sync_api", reason="Playwright isn't installed")
    pytest.importorskip("axe_playwright_python", reason="axe-core isn't installed")
    with api.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a file, or HTML text, in a window of a size: :class:`tests.browser.Opened`."""
    from tests.browser import DESK, Opened

    windows: list[Opened] = []

    def open_(page: Path | str, size: tuple[int, int] = DESK) -> Opened:
        file = page if isinstance(page, Path) else tmp_path / f"page{len(windows)}.html"
        if isinstance(page, str):
            file.write_text(page, encoding="utf-8")
        windows.append(Opened(browser, file, size))
        return windows[-1]

    yield open_
    for window in windows:
        window.close()
