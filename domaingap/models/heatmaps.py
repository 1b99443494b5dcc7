"""Landmarks as the means of heatmaps: small feature maps of a timm backbone, fused, and a soft-argmax over them."""

from __future__ import annotations

import functools
import math
import warnings

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from domaingap.config import ModelConfig, Pretrained
from domaingap.errors import SettingError
from domaingap.models.backbone import check_drop_path, check_network, create_backbone

WIDTH = 96
"""Channels of the fused map: with resnet18 at 128 px the head then is about 8% of the backbone's multiplications."""
STRIDES = (8, 16, 32)
"""Of the maps that are fused. Heatmaps have the first one's cells: at 128 px 16 x 16, and the margin."""
PRIOR = 0.15
"""Standard deviation, in units of the crop's side, of the bump at the mean shape that untrained heatmaps are."""


class Pyramid(nn.Module):
    """A timm backbone's maps at strides 8, 16 and 32, as one map (Lin et al., Feature Pyramid Networks, CVPR 2017).

    Args:
        name: of a timm model with such maps.
        in_channels: of the pictures.
        size: their side in pixels.
        pretrained: as in :func:`domaingap.models.backbone.create_backbone`.
        drop_path: see :func:`domaingap.models.backbone.create_backbone`.

    Attributes:
        cells: cells along a side of the crop.
        margin: cells beyond it on each side, an eighth of them: points may lie outside of the crop, up to 10% of its side
            at 128 px.
    """

    def __init__(
        self, name: str, in_channels: int, size: int, pretrained: Pretrained = False, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        chosen, channels = maps_of(name, in_channels, size)
        self.maps = create_backbone(name, in_channels, size, pretrained, drop_path, chosen)
        self.lateral = nn.ModuleList(nn.Conv2d(n, WIDTH, 1) for n in channels)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.fuse = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
        self.fused_norm = nn.BatchNorm2d(WIDTH)
        self.cells = math.ceil(size / STRIDES[0])
        self.margin = math.ceil(self.cells / 8)

    def forward(self, image: Tensor) -> Tensor:
        """Pictures [B, C, S, S] → the fused map [B, WIDTH, cells + 2 margin, cells + 2 margin]."""
        found = self.maps(image)
        fused = self.lateral[-1](found[-1])
        for lateral, finer in zip(reversed(self.lateral[:-1]), reversed(found[:-1]), strict=True):  # type: ignore[arg-type]
            fused = F.interpolate(fused, size=finer.shape[-2:], mode="nearest") + lateral(finer)
        # Beyond the crop is nothing; what is near its edge says what would be there.
        fused = F.pad(self.norm(fused).relu(), [self.margin] * 4)
        answer: Tensor = self.fused_norm(self.fuse(fused)).relu()
        return answer

    def grid(self, size: int) -> Tensor:
        """Centres [P, 2] of the cells, x and y in units of the side of a crop of ``size`` pixels, row by row."""
        # Pixel centres are at integers, so the crop reaches from -1/2 pixel on.
        along = (torch.arange(-self.margin, self.cells + self.margin) + 0.5) / self.cells - 0.5 / size
        y, x = torch.meshgrid(along, along, indexing="ij")
        return torch.stack([x, y], dim=-1).flatten(0, 1)


@functools.cache
def maps_of(name: str, in_channels: int, size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which of a timm model's maps have the strides of :data:`STRIDES`, and their channels. Computes nothing.

    Raises:
        SettingError: it has none of the finest, as transformers, or its maps are laid out otherwise.
    """
    side = math.ceil(size / STRIDES[0])
    try:
        with torch.device("meta"), torch.no_grad(), warnings.catch_warnings(action="ignore"):
            network = timm.create_model(name, in_chans=in_channels, features_only=True).eval()
            found = network(torch.zeros(1, in_channels, size, size))
        strides, channels = network.feature_info.reduction(), network.feature_info.channels()
        chosen = tuple(i for i, stride in enumerate(strides) if stride in STRIDES)
        right = [strides[i] for i in chosen] == list(STRIDES) and found[chosen[0]].shape[-2:] == (side, side)
        right = right and all(found[i].ndim == 4 and found[i].shape[1] == channels[i] for i in chosen)
    except Exception:  # of all kinds: no maps at all, or pictures of another size
        right = False
    if not right:
        wanted = "maps of an eighth, a 16th and a 32nd of the crop's side"
        raise SettingError(
            "model.head", f"is soft_argmax, which needs {wanted}; {name} has none at {size} px: set it to regression"
        )
    return chosen, tuple(channels[i] for i in chosen)


def check_model(model: ModelConfig, in_channels: int, size: int, batch_size: int) -> None:
    """SettingError where a network of these settings can't be trained on such pictures. Fetches and computes nothing."""
    check_network(model.backbone, in_channels, size, batch_size)
    if model.head == "soft_argmax":
        maps_of(model.backbone, in_channels, size)
    if model.drop_path:
        check_drop_path(model.backbone, in_channels, model.drop_path)


def soft_argmax(logits: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Means [B, n, 2] of heatmaps, and the heatmaps [B, n, P] (Sun et al., Integral Human Pose Regression, ECCV 2018).

    Args:
        logits: [B, n, P].
        grid: places [P, 2] of the cells.
    """
    heat = logits.softmax(dim=-1)
    return heat @ grid, heat


def covariance(heat: Tensor, grid: Tensor, mean: Tensor) -> Tensor:
    """Covariances [B, n, 2, 2] of heatmaps [B, n, P] over places [P, 2], about their means [B, n, 2]."""
    centre = grid.mean(dim=0)  # where squares are small, so that little is lost by their difference
    off, to = grid - centre, mean - centre
    squares = heat @ torch.stack([off[:, 0] ** 2, off[:, 0] * off[:, 1], off[:, 1] ** 2], dim=-1)
    xx, xy, yy = (squares - torch.stack([to[..., 0] ** 2, to[..., 0] * to[..., 1], to[..., 1] ** 2], dim=-1)).unbind(-1)
    return torch.stack([torch.stack([xx, xy], dim=-1), torch.stack([xy, yy], dim=-1)], dim=-2)
