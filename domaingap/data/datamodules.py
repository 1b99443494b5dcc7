"""Lightning data modules over prepared crops, usable in anybody's Lightning code::

data = RealDataModule(data_root="data", n_real=200)
pl.Trainer(max_steps=1000).fit(LandmarkRegressor(), data)
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from domaingap.config import (
    AugmentConfig,
    CropConfig,
    FitConfig,
    GeneratedConfig,
    RealConfig,
    RunSettings,
    SyntheticConfig,
    TargetConfig,
)
from domaingap.data.appearance import Appearance
from domaingap.data.faces import FaceDataset, MixedDataset, PreparedFaces
from domaingap.data.prepare import prepare_part
from domaingap.data.readers import FaceSource, open_source
from domaingap.data.splits import VALIDATION_SEED, Indices, draw_groups, seeded_order
from domaingap.data.transforms import Augmenter
from domaingap.errors import UserError
from domaingap.paths import expand
from domaingap.provenance import Seen
from domaingap.sources import Role, Source, face_sources
from domaingap.sources import source as source_named


class _FacesDataModule(pl.LightningDataModule):
    """What the modules share: prepared faces, a split of them, and loaders over the split."""

    role: Role

    def __init__(
        self,
        source: str,
        root: Path | str | None,
        generated: GeneratedConfig | TargetConfig,
        data_root: Path | str,
        prepared_dir: Path | str,
        crop: CropConfig,
        augment: AugmentConfig,
        batch_size: int,
        num_workers: int,
        steps_per_epoch: int | None,
        seed: int,
    ) -> None:
        super().__init__()
        # Made for their checks: what can't be is found here, before anything is prepared.
        places = RunSettings(data_root=Path(data_root), prepared_dir=Path(prepared_dir), seed=seed)
        FitConfig(batch_size=batch_size, num_workers=num_workers, val_every=steps_per_epoch)
        self.source, self.generated = source, generated
        self.root = expand(root) if root is not None else None
        self.about: Source = source_named(source, self.role, f"--{self.role}.source")
        self.data_root, self.prepared_dir = places.data_root, places.prepared_dir
        self.crop, self.augment, self.seed = crop, augment, seed
        self.batch_size, self.num_workers, self.steps_per_epoch = batch_size, num_workers, steps_per_epoch
        self.train_positions: Indices
        self.val_positions: Indices
        self.test_positions: dict[str, Indices] = {}
        self._faces: PreparedFaces | None = None

    def open(self) -> FaceSource:
        """The data set, nothing of it read yet."""
        return open_source(self.source, self.data_root, self.root, self.generated)

    def chosen(self, source: FaceSource) -> list[str]:
        """The parts to work with."""
        return source.chosen()

    def _split(self, faces: PreparedFaces) -> None:
        raise NotImplementedError

    @property
    def faces(self) -> PreparedFaces:
        """All faces of the data set; set up when first asked for."""
        if self._faces is None:
            reader = self.open()
            parts = [prepare_part(reader, part, self.crop, self.prepared_dir) for part in self.chosen(reader)]
            self._faces = PreparedFaces(parts)
            self._split(self._faces)
        return self._faces

    def prepare_data(self) -> None:
        """Prepare the crops that aren't there yet; in one process where there are several."""
        reader = self.open()
        for part in self.chosen(reader):
            prepare_part(reader, part, self.crop, self.prepared_dir)

    def setup(self, stage: str | None = None) -> None:
        """Map the crops and draw the split."""
        _ = self.faces

    def train_set(self) -> FaceDataset:
        """The training faces, augmented."""
        faces = self.faces
        return FaceDataset(faces, self.train_positions, Augmenter(self.crop, self.augment, self.seed))

    def plain_train_set(self) -> FaceDataset:
        """The training faces as they are: what a label adapter is fitted on."""
        faces = self.faces
        return FaceDataset(faces, self.train_positions)

    def val_set(self) -> FaceDataset:
        """The validation faces, never augmented."""
        faces = self.faces
        return FaceDataset(faces, self.val_positions)

    def test_set(self, name: str) -> FaceDataset:
        """A test set by name, never augmented."""
        faces = self.faces
        return FaceDataset(faces, self.test_positions[name])

    def conditions(self, positions: Indices) -> dict[str, NDArray[np.float64]]:
        """What the labels of some faces know beside landmarks, an array [N] by name; see :meth:`FaceSource.conditions`."""
        known = face_sources()[self.source].knows
        if not known:
            return {}
        faces, reader = self.faces, self.open()
        names, parts = faces.names[positions], faces.parts[positions]
        values = {name: np.full(len(positions), np.nan) for name in known}
        for part in faces.prepared:
            here = np.flatnonzero(parts == part.name)
            if len(here):
                index = part.index()
                place = {name: i for i, name in enumerate(index["names"].tolist())}
                rows = [place[name] for name in names[here].tolist()]
                columns = {key: column[rows] for key, column in index.items()}
                for name, found in reader.conditions(names[here].tolist(), columns).items():
                    values[name][here] = found
        return values

    def box_rule(self) -> str:
        """Where the faces' boxes come from, in words."""
        return self.about.box_rule(self.crop.box)

    def mean_shape(self) -> NDArray[np.float64]:
        """Mean training landmarks [68, 2] in crop pixels."""
        faces = self.faces
        return np.asarray(faces.crop_landmarks()[self.train_positions].mean(axis=0))

    def train_dataloader(self) -> DataLoader[Any]:
        from domaingap.training import train_loader

        return train_loader(self.train_set(), self.batch_size, self.seed, self.steps_per_epoch, self.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        from domaingap.training import eval_loader

        return eval_loader(self.val_set())

    def test_dataloader(self) -> list[DataLoader[Any]]:
        from domaingap.training import eval_loader

        self.setup()
        return [eval_loader(self.test_set(name)) for name in self.test_positions]


class RealDataModule(_FacesDataModule):
    """Photographs, or generated faces in their place: training faces, the fixed validation subset, and the test sets that
    are present.

    Attributes:
        moved: training faces that are left out because their photograph is in a test set, with a face of it there.

    Args:
        n_real: faces to train on, the first of the seed's order (so subsets are nested); all by default.
        parts: parts of the release by name, ``afw,helen,lfpw,ibug,private`` or a list; all that are present by default.
        data_root: folder that holds the data sets.
        root: the release's folder, below ``data_root`` or absolute; the source's usual name by default.
        n_val: faces of the validation subset; drawn by a seed of its own from the training part, never trained on.
        seed: the run's seed: order of the training faces, batches and augmentation.
        crop: how faces are cut out.
        augment: augmentation of the training faces.
        batch_size: faces per training batch.
        num_workers: loader processes for training.
        steps_per_epoch: batches that Lightning calls an epoch; one pass over the faces by default.
        prepared_dir: where prepared crops are kept.
        source: whose faces: a real source of :mod:`domaingap.sources`.
        generated: which faces to make, where the source makes them.

    Raises:
        UserError: data that isn't there, or less of it than asked for.
    """

    role: Role = "real"

    def __init__(
        self,
        n_real: int | None = None,
        parts: str | Sequence[str] | None = None,
        data_root: Path | str = "data",
        root: Path | str | None = None,
        n_val: int = 300,
        seed: int = 0,
        crop: CropConfig = CropConfig(),
        augment: AugmentConfig = AugmentConfig(),
        batch_size: int = 32,
        num_workers: int = 0,
        steps_per_epoch: int | None = None,
        prepared_dir: Path | str = "prepared",
        source: str = "300w",
        generated: TargetConfig = TargetConfig(),
    ) -> None:
        super().__init__(
            source, root, generated, data_root, prepared_dir, crop, augment, batch_size, num_workers, steps_per_epoch, seed
        )
        self.n_real, self.n_val = n_real, n_val
        text = parts if isinstance(parts, str) or parts is None else ",".join(parts) or None
        self.parts = RealConfig(text, n_val, source=source).chosen_parts
        self.moved: dict[str, str] = {}
        if n_real is not None and n_real < 1:
            raise UserError(f"--n_real is {n_real}; give at least 1, or leave it out for all")

    def chosen(self, source: FaceSource) -> list[str]:
        return source.chosen(self.parts)

    def _split(self, faces: PreparedFaces) -> None:
        names, photographs = faces.names.tolist(), faces.photographs.tolist()
        train_part = np.isin(faces.parts, self.about.train_parts)
        # A photograph that is also in a test set doesn't train (none is in the releases, but copies get mixed up).
        tested = {photographs[i]: names[i] for i in np.flatnonzero(~train_part)[::-1]}  # the first of its faces there
        self.moved = {names[i]: tested[photographs[i]] for i in np.flatnonzero(train_part) if photographs[i] in tested}
        train_part &= ~np.isin(faces.names, list(self.moved))
        pool = np.flatnonzero(train_part)
        if len(pool) <= self.n_val:
            reader = self.open()
            raise UserError(
                f"{reader.where}: {len(pool)} training faces, but the validation subset alone takes {self.n_val}; "
                f"{reader.more}, or set --real.n_val lower"
            )
        pool_names, pool_photographs = [names[i] for i in pool], [photographs[i] for i in pool]
        in_val = draw_groups(pool_names, pool_photographs, self.n_val, VALIDATION_SEED)
        self.val_positions = pool[in_val]
        order = pool[~in_val][
            seeded_order([names[i] for i in pool[~in_val]], [photographs[i] for i in pool[~in_val]], self.seed)
        ]
        if self.n_real is not None and self.n_real > len(order):
            raise UserError(
                f"--n_real is {self.n_real}, but there are {len(order)} training faces "
                f"(after the {len(self.val_positions)} validation faces)"
            )
        self.train_positions = order[: self.n_real]
        for name in self.about.test_sets_in(set(faces.parts.tolist())):
            self.test_positions[name] = np.flatnonzero(np.isin(faces.parts, self.about.test_sets[name]))


class SyntheticDataModule(_FacesDataModule):
    """Synthetic faces of one source: training faces and a hold-out.

    Args:
        n_synthetic: images to use, hold-out included, the first of the seed's order; all by default.
        val_split: share held out of training, drawn by a seed of its own.
        source: whose faces: a synthetic source of :mod:`domaingap.sources`.
        data_root: folder that holds the data sets.
        root: the release's folder, below ``data_root`` or absolute; the source's usual name by default.
        seed: the run's seed: order of the training faces, batches and augmentation.
        crop: how faces are cut out.
        augment: augmentation of the training faces.
        batch_size: faces per training batch.
        num_workers: loader processes for training.
        steps_per_epoch: batches that Lightning calls an epoch; one pass over the faces by default.
        prepared_dir: where prepared crops are kept.
        generated: which faces to make, where the source makes them.
        appearance: what the training pictures are made to look like: ``none`` leaves them as they are, ``fourier`` and
            ``histogram`` take the look of ``like``'s training faces (:mod:`domaingap.data.appearance`).
        appearance_beta: of ``fourier``.
        appearance_share: share of the training pictures that are changed.
        like: real faces, whose labels are not read; they count as seen.

    Raises:
        UserError: data that isn't there, or less of it than asked for; an appearance without faces to take it from.
    """

    role: Role = "synthetic"

    def __init__(
        self,
        n_synthetic: int | None = None,
        val_split: float = 0.1,
        source: str = "face_synthetics",
        data_root: Path | str = "data",
        root: Path | str | None = None,
        seed: int = 0,
        crop: CropConfig = CropConfig(),
        augment: AugmentConfig = AugmentConfig(),
        batch_size: int = 32,
        num_workers: int = 0,
        steps_per_epoch: int | None = None,
        prepared_dir: Path | str = "prepared",
        generated: GeneratedConfig = GeneratedConfig(),
        appearance: str = "none",
        appearance_beta: float = 0.05,
        appearance_share: float = 1.0,
        like: RealDataModule | None = None,
    ) -> None:
        super().__init__(
            source, root, generated, data_root, prepared_dir, crop, augment, batch_size, num_workers, steps_per_epoch, seed
        )
        self.n_synthetic, self.val_split = n_synthetic, val_split
        SyntheticConfig(
            source,
            val_split,
            appearance=appearance,
            appearance_beta=appearance_beta,
            appearance_share=appearance_share,
        )
        if appearance != "none" and (like is None or like.crop != crop):
            raise UserError(f"--synthetic.appearance is {appearance}, which needs real faces that are cut out the same way")
        self.like = like if appearance != "none" else None
        self.appearance, self.appearance_beta, self.appearance_share = appearance, appearance_beta, appearance_share
        if n_synthetic is not None and n_synthetic < 2:
            raise UserError(f"--n_synthetic is {n_synthetic}; give at least 2 (one is held out), or leave it out for all")

    def _split(self, faces: PreparedFaces) -> None:
        names, groups = faces.names.tolist(), faces.photographs.tolist()
        total = len(names)
        n = total if self.n_synthetic is None else self.n_synthetic
        if n > total:
            more = self.open().more
            raise UserError(
                f"--n_synthetic is {n}, but {self.source} has {total} images here; {more}, or leave it out for all"
            )
        # At least one identity, also where the share of a small set is less than its smallest.
        smallest = min(Counter(groups).values())
        held_out = draw_groups(names, groups, max(smallest, round(self.val_split * total)), VALIDATION_SEED)
        order = seeded_order(names, groups, self.seed)
        n_val = max(1, round(self.val_split * n))
        hold_out_order = seeded_order(names, groups, VALIDATION_SEED)
        self.val_positions = hold_out_order[held_out[hold_out_order]][:n_val]
        self.train_positions = order[~held_out[order]][: n - n_val]
        if not len(self.train_positions) or not len(self.val_positions):
            raise UserError(f"{self.source}: {total} images are too few for a hold-out of {self.val_split}")

    def prepare_data(self) -> None:
        """Prepare the crops that aren't there yet, also of the faces whose look is taken."""
        super().prepare_data()
        if self.like is not None:
            self.like.prepare_data()

    def train_set(self) -> FaceDataset:
        """The training faces, with the look of real ones where that is asked for, augmented."""
        plain = super().train_set()
        if self.like is None:
            return plain
        faces = self.like.faces
        look = Appearance(
            self.appearance, self.appearance_beta, self.appearance_share, faces, self.like.train_positions, self.seed
        )
        return FaceDataset(plain.faces, plain.positions, plain.augmenter, look)

    def adapted(
        self, adapt: Callable[[NDArray[np.float64]], NDArray[np.float64]], key: str, seen: Seen = Seen()
    ) -> SyntheticDataModule:
        """The same faces and the same split with adapted labels.

        Args:
            adapt: original labels [N, 68, 2] in original-image pixels → adapted ones, such as ``LabelAdapter.adapt``.
            key: identity of the adapter by content.
            seen: what the adapter was fitted on.
        """
        faces = self.faces
        other = copy.copy(self)
        other._faces = faces.relabelled(adapt(faces.landmarks), key, seen)
        return other


class MixedDataModule(pl.LightningDataModule):
    """Synthetic and real faces in every batch; **α is the share of synthetic samples in a batch**.

    α = 0 trains as the real module alone does, α = 1 as the synthetic one. Validation and test are the real module's.
    A loss that is the plain mean over the batch then weighs the domains by α.

    Args:
        synthetic: synthetic faces, usually with adapted labels (:meth:`SyntheticDataModule.adapted`).
        real: real faces.
        alpha: share of synthetic samples in a batch, 0 to 1; exact on average where α · batch isn't whole.
        batch_size: faces per training batch.
        num_workers: loader processes for training.
        steps_per_epoch: batches that Lightning calls an epoch; by default as many as both domains' faces make.

    Raises:
        UserError: α outside [0, 1], or modules whose faces are cut out or augmented differently.
    """

    def __init__(
        self,
        synthetic: SyntheticDataModule,
        real: RealDataModule,
        alpha: float = 0.5,
        batch_size: int = 32,
        num_workers: int = 0,
        steps_per_epoch: int | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise UserError(f"--alpha is {alpha}; it is the share of synthetic samples in a batch, between 0 and 1")
        if (synthetic.crop, synthetic.augment, synthetic.seed) != (real.crop, real.augment, real.seed):
            raise UserError("mixed domains must share crop, augmentation and seed, or the network sees which is which")
        self.synthetic, self.real, self.alpha = synthetic, real, alpha
        self.crop, self.augment, self.seed = real.crop, real.augment, real.seed
        self.batch_size, self.num_workers, self.steps_per_epoch = batch_size, num_workers, steps_per_epoch

    def prepare_data(self) -> None:
        """Prepare the crops that aren't there yet."""
        self.real.prepare_data()
        self.synthetic.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Map the crops and draw the splits."""
        self.real.setup()
        self.synthetic.setup()

    def train_set(self) -> MixedDataset:
        """The training faces of both domains, augmented."""
        return MixedDataset(self.real.train_set(), self.synthetic.train_set(), self.alpha)

    def mean_shape(self) -> NDArray[np.float64]:
        """Mean training landmarks [68, 2] in crop pixels, as the batches have them."""
        return np.asarray(self.alpha * self.synthetic.mean_shape() + (1 - self.alpha) * self.real.mean_shape())

    def train_dataloader(self) -> DataLoader[Any]:
        from domaingap.training import train_loader

        return train_loader(self.train_set(), self.batch_size, self.seed, self.steps_per_epoch, self.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.real.val_dataloader()

    def test_dataloader(self) -> list[DataLoader[Any]]:
        return self.real.test_dataloader()
