"""timm's networks as backbones: made for the crops that they get, and asked beforehand what they can take."""

from __future__ import annotations

import difflib
import functools
import itertools
import logging
import warnings
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from domaingap.config import PACKAGE, PACKAGED_BACKBONE, Pretrained
from domaingap.errors import SettingError, UserError
from domaingap.models.packaged_weights import load_packaged

BATCH_OF_ONE = "is 1, but {} at {} px normalises over the batch; give 2 or more, or a larger --crop.size"
SIDES = (32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512)
"""Crops that a network which can't take a certain one is tried with."""
SUGGESTED = 5
MEAN, SCALE = 127.5, 64.0
"""What is subtracted from pixels of 0 to 255, and what they are divided by, before any network sees them."""


def check_backbone(name: str) -> None:
    """UserError where timm has no model of this name, or no weights of its tag."""
    stem, _, tag = name.partition(".")
    if not timm.is_model(name):
        models = timm.list_models()
        close = [model for model in models if model.startswith(stem)] + difflib.get_close_matches(
            stem, models, SUGGESTED, 0.7
        )
        close += timm.list_models(f"*{stem.split('_', maxsplit=1)[0]}*")
        names = ", ".join(list(dict.fromkeys(close))[:SUGGESTED])
        hint = f"; close: {names}" if names else "; timm.list_models() names all"
        raise SettingError("model.backbone", f"is {name}, and timm has no such model{hint}")
    known = [model.partition(".")[2] for model in timm.list_pretrained(f"{stem}.*")]
    if tag and tag not in known:
        raise SettingError("model.backbone", f"is {name}, and {stem} has no weights of that tag; known: {', '.join(known)}")


def create_backbone(
    name: str,
    in_channels: int,
    size: int,
    pretrained: Pretrained = False,
    drop_path: float = 0.0,
    maps: tuple[int, ...] | None = None,
) -> nn.Module:
    """A timm model that answers a feature vector [B, F] to pictures [B, in_channels, size, size].

    Args:
        name: of the model.
        in_channels: of the pictures, whose pixels are ``(value - MEAN) / SCALE``.
        size: their side in pixels.
        pretrained: whether it has timm's ImageNet weights, or those of an installed package. timm's are taken as they are:
            most of them were made for pixels divided by about 58, which is near, with a mean of their own. The package's
            are scaled to our pixels.
        drop_path: share of faces that a residual branch of the last block is left out for in training, less in those before
            (stochastic depth; Huang et al., ECCV 2016).
        maps: which of its feature maps it is to answer instead, a list of them; see
            :func:`domaingap.models.heatmaps.maps_of`.

    Raises:
        UserError: an unknown model, one that can't take such pictures or drop paths, or weights that can't be had.
    """
    check_backbone(name)
    options = dict(_options(name, in_channels, size))
    if drop_path:
        check_drop_path(name, in_channels, drop_path)
        options["drop_path_rate"] = drop_path
    if maps is not None:
        options |= {"features_only": True, "out_indices": maps}
    if not pretrained:
        return _create(name, in_channels, options)
    if pretrained == PACKAGE:
        network = _create(name, in_channels, options)
        load_packaged(network, in_channels, SCALE)
        return network
    if not timm.is_model_pretrained(name):
        raise SettingError("model.pretrained", f"is true, but timm has no weights of {name}; set it to false")
    # It warns of every try; one line of ours says how it ended.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        return _create(name, in_channels, {**options, "pretrained": True})
    except Exception as error:
        raise UserError(
            f"pretrained weights of {name} can't be fetched ({type(error).__name__}); "
            f"connect to the network once, or set --model.pretrained false, or package (weights of {PACKAGED_BACKBONE} "
            "from an installed package)"
        ) from error


@functools.cache
def fetch_weights(name: str, in_channels: int, size: int, pretrained: Pretrained = True) -> None:
    """Have pretrained weights on this machine; UserError where they can't be had."""
    create_backbone(name, in_channels, size, pretrained)


@functools.cache
def check_network(name: str, in_channels: int, size: int, batch_size: int) -> None:
    """UserError where a network can't be trained on batches of such pictures. Fetches and computes nothing."""
    check_backbone(name)
    options = _options(name, in_channels, size)
    if batch_size == 1 and not any(_works(name, in_channels, size, options, on, True) for on in ("meta", "cpu")):
        raise SettingError("fit.batch_size", BATCH_OF_ONE.format(name, size))


@functools.cache
def check_drop_path(name: str, in_channels: int, rate: float) -> None:
    """SettingError where a model drops no paths. Computes nothing."""
    from timm.layers import DropPath

    try:
        with torch.device("meta"):
            network = _create(name, in_channels, {"drop_path_rate": rate})
        # Some take any option and make nothing of it.
        right = any(isinstance(module, DropPath) for module in network.modules())
    except Exception:  # an argument that it doesn't know
        right = False
    if not right:
        raise SettingError("model.drop_path", f"is {rate:g}, and {name} has no paths that are dropped; set it to 0")


@functools.cache
def n_parameters(name: str, in_channels: int) -> int:
    """Number of weights of a model as timm makes it by default. Makes none of them."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in _create(name, in_channels, {}).parameters())


def differs(state: dict[str, Tensor], module: nn.Module) -> str | None:
    """In what weights aren't those of a module; None where they are."""
    own = module.state_dict()
    for key, value in own.items():
        if key not in state:
            return f"{key} is absent, the network needs {tuple(value.shape)}"
        found = state[key]
        if found.shape != value.shape:
            return f"{key} is {tuple(found.shape)}, the network needs {tuple(value.shape)}"
        if found.is_floating_point() != value.is_floating_point():
            return f"{key} holds {found.dtype}, the network needs {value.dtype}"
    more = sorted(set(state) - set(own))
    return f"{more[0]} isn't part of the network" if more else None


def _create(name: str, in_channels: int, options: dict[str, Any]) -> nn.Module:
    if not options.get("features_only"):
        options = {"num_classes": 0, **options}
    network: nn.Module = timm.create_model(name, in_chans=in_channels, **options)
    return network


@functools.cache
def _options(name: str, in_channels: int, size: int) -> dict[str, Any]:
    """What a model is to be made with for pictures of a size; SettingError where nothing makes it take them."""
    if (options := _found(name, in_channels, size, "meta") or _found(name, in_channels, size, "cpu")) is not None:
        return options.kwargs
    if in_channels == 1 and _found(name, 3, size, "meta") is not None:
        raise SettingError("crop.channels", f"is gray, but {name} takes colours; set it to rgb")
    near = sorted(SIDES, key=lambda side: (abs(side - size), side))
    able = itertools.islice((side for side in near if _found(name, in_channels, side, "meta")), SUGGESTED)
    if not (sides := ", ".join(str(side) for side in sorted(able))):
        raise SettingError("model.backbone", f"is {name}, which answers no vector of features to any crop; choose another")
    raise SettingError("crop.size", f"is {size}, which {name} can't take; of the usual ones near it takes {sides}")


class _Way(NamedTuple):
    """How a model is made: with its picture's size, as transformers are whose positions are learnt, or without."""

    kwargs: dict[str, Any]


def _found(name: str, in_channels: int, size: int, device: str) -> _Way | None:
    """The way in which a model takes pictures of a size; None where there is none."""
    known = timm.get_pretrained_cfg(name)
    ways = [_Way({}), _Way({"img_size": size})]
    if known is not None and known.fixed_input_size:
        ways.reverse()
    return next((way for way in ways if _works(name, in_channels, size, way.kwargs, device)), None)


def _works(name: str, in_channels: int, size: int, options: dict[str, Any], device: str, training: bool = False) -> bool:
    """Whether a model so made answers a vector to one picture; on the meta device nothing is computed."""
    try:
        with torch.device(device), torch.no_grad(), warnings.catch_warnings(action="ignore"):
            network = _create(name, in_channels, options).train(training)
            answer = network(torch.zeros(1, in_channels, size, size))
    except Exception:  # whatever it is that they raise, and they raise all kinds
        return False
    return isinstance(answer, Tensor) and answer.ndim == 2
