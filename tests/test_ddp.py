"""One network in several processes: what they draw, train, validate and write is what one would, and none is waited for that
has gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F

from domaingap import crew
from domaingap.config import CropConfig, FineTuneConfig, FitConfig, ModelConfig, RunSettings, determining
from domaingap.data.datamodules import MixedDataModule, RealDataModule, SyntheticDataModule
from domaingap.data.sampler import DomainMixSampler, UpTo
from domaingap.errors import SettingError, UserError
from domaingap.launch import Machine, check_processes, this_machine
from domaingap.models.batch_norm import batch_norm, over_processes
from domaingap.models.regressor import LandmarkRegressor, read_checkpoint
from domaingap.stages import Stage, StageStore, build_network
from domaingap.training import eval_loader, predict, train_loader

FIT = FitConfig(steps=9, batch_size=8, val_every=3, precision="32", lr=1e-3, ema=0.9)
CROP = CropConfig(size=32, box="landmarks")


@pytest.fixture
def real(data_root: Path, prepared_dir: Path) -> RealDataModule:
    module = RealDataModule(data_root=data_root, prepared_dir=prepared_dir, n_val=7, crop=CROP)
    module.setup()
    return module


@pytest.fixture
def mixed(real: RealDataModule, data_root: Path, prepared_dir: Path) -> MixedDataModule:
    synthetic = SyntheticDataModule(data_root=data_root, prepared_dir=prepared_dir, crop=CROP)
    synthetic.setup()
    return MixedDataModule(synthetic, real, 0.25)


def train(root: Path, data: Any, val: RealDataModule, backbone: str = "test_resnet", **more: Any) -> Stage:
    listeners = {name: more.pop(name, None) for name in ("on_point", "on_look")}
    model = ModelConfig(backbone=backbone)
    return StageStore(root).fit("net", model, data, {"val": val}, replace(FIT, **more), 0, **listeners)


def weights(stage: Stage, selection: str = "budget") -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(stage.checkpoint(selection))["state_dict"])


# What each process gets


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("alpha", [0.25, 0.3, 0.0])
def test_shares_together_are_the_batch_of_one_process_and_each_has_alpha(alpha: float, parts: int) -> None:
    whole = DomainMixSampler(50, 20, alpha, 8, seed=3, steps_per_epoch=5)
    shares = [list(UpTo(whole, 2, 5, part, parts)) for part in range(parts)]
    for i, step in enumerate(range(2, 5)):
        drawn = whole.step(step)
        mine = [share[i * 8 // parts : (i + 1) * 8 // parts] for share in shares]
        assert sorted(draw for share in mine for draw in share) == sorted(drawn)
        synthetic = [sum(position >= 50 for _, position, _ in share) for share in mine]
        assert max(synthetic) - min(synthetic) <= 1, "as near to α as whole faces allow"
    with pytest.raises(ValueError, match="can't share 8 draws of a step equally"):
        UpTo(whole, 0, 5, 0, 3)


def test_pictures_of_the_shares_are_those_of_one_process(mixed: MixedDataModule) -> None:
    """Augmentation included."""
    faces = mixed.train_set()
    (whole,) = train_loader(faces, 8, 0, 1, 0, (0, 1))
    shares = [next(iter(train_loader(faces, 8, 0, 1, 0, (0, 1), (part, 2)))) for part in range(2)]
    assert [len(share["image"]) for share in shares] == [4, 4]
    for part, share in enumerate(shares):
        for key, value in share.items():
            assert torch.equal(value, whole[key][part::2]), key


def test_validation_repeats_no_face_and_leaves_none_out(real: RealDataModule) -> None:
    faces = real.val_set()
    shares = [torch.cat([batch["position"] for batch in eval_loader(faces, 2, share=(i, 3))]) for i in range(3)]
    assert [len(share) for share in shares] == [3, 2, 2], "7 faces on 3 processes"
    assert sorted(torch.cat(shares).tolist()) == sorted(real.val_positions.tolist())
    few = [torch.cat([batch["position"] for batch in eval_loader(faces, share=(i, 8))]) for i in range(8)]
    assert all(share.tolist() == real.val_positions.tolist() for share in few), "each has some, and the mean is the same"


# Batch norm


@pytest.fixture
def alone() -> Iterator[None]:
    """A process group of this process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4, 5)])
def test_batch_norm_of_one_process_is_torchs(shape: tuple[int, ...], alone: None) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.rand(3), torch.randn(3)
    found = []
    for function in (F.batch_norm, batch_norm):
        inputs = [value.clone().requires_grad_() for value in (x, weight, bias)]
        mean, var = torch.zeros(3), torch.ones(3)
        y = function(inputs[0], mean, var, inputs[1], inputs[2], True, 0.2, 1e-4)
        (y.sin() * torch.arange(y.numel()).view(shape)).sum().backward()
        still = function(x, mean, var, weight, bias, False)
        found.append([y, mean, var, still, *(value.grad for value in inputs)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_networks_keep_their_activations_when_batch_norm_is_made_one_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """On GPUs it is converted; PyTorch's own conversion drops what timm has inside its batch norms."""
    model = LandmarkRegressor("test_efficientnet", 32).eval()
    image = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    before, keys = model(image), list(model.state_dict())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with over_processes(model):
        norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
        assert norms and all(isinstance(module, torch.nn.SyncBatchNorm) for module in norms)
        assert torch.equal(model(image), before) and list(model.state_dict()) == keys


# Settings


def test_a_network_of_one_process_is_known_as_before() -> None:
    alone, two, other_two = FitConfig(), FitConfig(devices=2), FitConfig(nodes=2)
    assert not {"devices", "nodes", "processes"} & alone.values().keys()
    assert two.values() == other_two.values() == {**alone.values(), "processes": 2}
    assert determining(RunSettings(fit=two))["fit"] == two.values()
    assert FineTuneConfig().of(two).processes == 2


def test_batches_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(
        SettingError, match=r"--fit.batch_size is 32, which 6 processes \(--fit.devices 3, --fit.nodes 2\) can't"
    ):
        FitConfig(devices=3, nodes=2)
    with pytest.raises(SettingError, match="6 processes .* can.t share equally; 30 they can"):
        FitConfig(devices=6)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_processes(FitConfig(devices=16))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingError, match="--fit.devices is 2, but there is 1 GPU here"):
        check_processes(FitConfig(devices=2))


TORCHRUN = {
    "RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "n1", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "x",
    "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_USE_AGENT_STORE": "True",
}  # fmt: skip
SRUN = {
    "SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "1", "SLURM_STEP_NODELIST": "n[3-4]",
}  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (TORCHRUN, Machine(1, 2, "n1", 29500, "x-0", False)),
        ({**TORCHRUN, "RANK": "0"}, Machine(0, 2, "n1", 29500, "x-0", False)),
        ({**TORCHRUN, "RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": "False"}, Machine(0, 2, "n1", 29500, "x-0", True)),
        (SRUN, Machine(0, 2, "n3", 15218, "7-1", True)),
        ({**SRUN, "SLURM_PROCID": "1", "MASTER_PORT": "4000"}, Machine(1, 2, "n3", 4000, "7-1", False)),
        ({**SRUN, **TORCHRUN}, Machine(1, 2, "n1", 29500, "x-0", False)),
        (
            {},
            "--fit.nodes is 2, but neither srun nor torchrun has started this command; start it once on each machine: srun",
        ),
        ({key: SRUN[key] for key in ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_ID")}, "neither srun nor torchrun"),
        ({**SRUN, "SLURM_NTASKS": "8"}, "is 2, but srun has started 8 processes of this command; start one on each machine"),
        ({**TORCHRUN, "WORLD_SIZE": "1"}, "but torchrun has started 1 processes"),
        ({**TORCHRUN, "RANK": "2"}, "torchrun calls this process number 2 of 2"),
        ({**TORCHRUN, "MASTER_PORT": "x"}, "needs MASTER_PORT in the environment as a whole number; it is x"),
        ({**SRUN, "SLURM_JOB_ID": ""}, "needs SLURM_JOB_ID in the environment as a whole number; it is not there"),
    ],
)
def test_which_machine_this_is(variables: dict[str, str], expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*TORCHRUN, *SRUN}:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if isinstance(expected, Machine):
        assert this_machine(2) == expected
    else:
        with pytest.raises(SettingError, match=str(expected)):
            this_machine(2)


def test_a_process_that_is_not_among_machines_does_not_wait_for_them(real: RealDataModule, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--fit.nodes is 2; 'domaingap run' and 'domaingap sweep --jobs 1' take several"):
        train(tmp_path, real, real, nodes=2)
    assert crew.among_machines([FIT, FIT], tmp_path, lambda: 3) == 3
    with pytest.raises(SettingError, match="--fit.nodes is 1 here and 2 there"):
        crew.among_machines([FIT, replace(FIT, nodes=2)], tmp_path, lambda: 3)


# Training


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """What two processes ended with; trained once."""
    return {}


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return float(sum(((a[key] - b[key]).double() ** 2).sum() for key in a if a[key].is_floating_point())) ** 0.5


def digits(stage: Stage) -> dict[str, Any]:
    """All that is the same where the same is trained again."""
    states = {selection: weights(stage, selection) for selection in ("budget", "real_val")}
    return {"history": [{**row, "seconds": 0} for row in stage.history], **states}


@pytest.mark.slow
def test_two_processes_train_what_one_does(
    mixed: MixedDataModule, real: RealDataModule, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """Steps, weights, averaged weights, batch norm's statistics, losses and validation, at α 0.25; one history."""
    points: list[dict[str, float]] = []
    looks: dict[int, list[Any]] = {1: [], 2: []}
    beginning = build_network(ModelConfig(backbone="test_resnet"), mixed, FIT, 0, ["val"]).state_dict()
    one = train(tmp_path, mixed, real, on_look=looks[1].append)
    two = train(tmp_path, mixed, real, devices=2, on_point=points.append, on_look=looks[2].append)
    for alone, together in zip(looks[1], looks[2], strict=True):
        assert len(alone["val"]) == min(8, len(real.val_positions))
        assert together["val"] == pytest.approx(alone["val"], abs=0.1), "one of the processes has answered"
    undisturbed.update(digits(two))
    assert one.entry.key != two.entry.key and two.fit["devices"] == 2
    assert [row["step"] for row in two.history] == [3, 6, 9] and points == two.history, "each point is told once"
    for a, b in zip(digits(one)["history"], digits(two)["history"], strict=True):
        assert b == pytest.approx(a, rel=1e-5)
    for selection in ("budget", "real_val"):
        a, b = weights(one, selection), weights(two, selection)
        assert a.keys() == b.keys()
        # In all, not one by one: Adam makes as much of a gradient that is nothing but rounding as of any other.
        assert distance(a, b) < 0.01 * distance(a, beginning)
    assert one.picked_step("real_val") == two.picked_step("real_val")
    nme = predict(two.load("budget"), real.val_set()).nme().mean()
    assert nme == pytest.approx(two.history[-1]["val/nme"], rel=1e-5), "as all faces have it in one process"
    assert {path.name for path in two.entry.folder.iterdir()} == {path.name for path in one.entry.folder.iterdir()}


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all_and_training_goes_on_to_the_same_digits(
    mixed: MixedDataModule, real: RealDataModule, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    def kill(point: dict[str, float]) -> None:
        if point["step"] == 6:
            ranks = sorted(multiprocessing.active_children(), key=lambda process: process.pid or 0)
            assert len(ranks) == 2
            os.kill(ranks[1].pid or 0, signal.SIGKILL)

    if not undisturbed:
        undisturbed.update(digits(train(tmp_path / "whole", mixed, real, devices=2)))
    with pytest.raises(
        UserError, match=r"of several that train one network was killed \(SIGKILL\).*same command again to go on"
    ):
        train(tmp_path / "killed", mixed, real, devices=2, on_point=kill)
    assert not multiprocessing.active_children()
    (kept,) = tmp_path.glob("killed/stages/*/.training-*")
    assert not (kept / "done.json").exists()
    assert read_checkpoint(kept / "resume.ckpt")["global_step"] in (3, 6)
    resumed = train(tmp_path / "killed", mixed, real, devices=2)
    found = digits(resumed)
    assert found["history"] == undisturbed["history"]
    for selection in ("budget", "real_val"):
        assert all(torch.equal(found[selection][key], value) for key, value in undisturbed[selection].items()), selection
    assert not kept.exists(), "jobs and checkpoints of the way are gone"


class _Ended:
    """A process that has ended."""

    pipe = type("Pipe", (), {"closed": True})

    def __init__(self, error: Exception | None = None, code: int = 1) -> None:
        self.done, self.error, self.ended = False, error, True
        self.process = type("Process", (), {"exitcode": code, "is_alive": lambda self: False})()


LOST = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([_Ended(LOST), _Ended(UserError("training diverged"))], "training diverged"),
        ([_Ended(LOST), _Ended(OSError(28, "No space left on device", "/a"))], "No space left"),
        ([_Ended(LOST), _Ended(code=-9)], r"was killed \(SIGKILL\), probably for lack of memory"),
        ([_Ended(code=143), _Ended(LOST)], "was ended by SIGTERM; give the same command again"),
        ([_Ended(LOST), _Ended(KeyError("x"))], "x"),
        (
            [_Ended(LOST), _Ended(LOST)],
            r"has lost the others \(.*Connection closed by peer.*\); give the same command again",
        ),
    ],
)
def test_of_several_errors_the_one_that_says_most_is_said(members: list[Any], says: str) -> None:
    with pytest.raises((UserError, OSError, KeyError), match=says):
        crew._Processes(members).attend(lambda *_: None)
