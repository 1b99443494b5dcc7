"""Batch norm over the whole batch where several processes share it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@contextlib.contextmanager
def over_processes(module: nn.Module) -> Iterator[None]:
    """Have every batch norm in a module's networks see the faces of all processes, whose shares are equally large.

    On GPUs timm's conversion to PyTorch's SyncBatchNorm. (Lightning's ``sync_batchnorm`` takes PyTorch's own, which drops
    the activations inside timm's ``BatchNormAct2d``.) On processors, where PyTorch has none, :func:`batch_norm`.
    """
    if torch.cuda.is_available():
        from timm.layers import convert_sync_batchnorm

        for name, child in module.named_children():
            setattr(module, name, convert_sync_batchnorm(child))
        yield
        return
    with _Synchronised():
        yield


class _Synchronised(TorchFunctionMode):
    """Takes the place of ``torch.nn.functional.batch_norm``, which every kind of batch norm ends in."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


class _Sum(torch.autograd.Function):
    """Sum over processes. Each one's loss depends on it, so the gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return _Sum.forward(ctx, gradients[0])


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` of [B, C, …] with the mean and variance of all processes' batches, each of B."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    x, over = input.float(), [0, *range(2, input.ndim)]
    shape = [1, -1, *([1] * (input.ndim - 2))]
    processes = dist.get_world_size()
    mean = _Sum.apply(x.mean(over)) / processes
    centred = x - mean.view(shape)
    var = _Sum.apply(centred.square().mean(over)) / processes
    if running_mean is not None and running_var is not None:
        n = processes * input.numel() / input.shape[1]
        running_mean.lerp_(mean.detach(), momentum)
        running_var.lerp_(var.detach() * (n / (n - 1)), momentum)
    y = centred * (var + eps).rsqrt().view(shape)
    if weight is not None:
        y = y * weight.view(shape)
    if bias is not None:
        y = y + bias.view(shape)
    answer: Tensor = y.to(input.dtype)
    return answer
