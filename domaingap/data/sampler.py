"""What is drawn at which step: a function of (seed, step) alone, so a run that goes on draws what it would have drawn."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from torch.utils.data import Sampler

Draw = tuple[int, int, int]
"""A face drawn for training: (step, position of the face, how often it was drawn before in this step)."""


class _Passes:
    """The endless sequence of draws from one domain: pass after pass over n faces, each in a seeded order of its own."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self._order, self._order_of = np.empty(0, dtype=np.int64), -1

    def draws(self, step: int, first: int, last: int) -> Iterator[Draw]:
        """Draws number ``first`` to ``last`` of the sequence, all of one step."""
        seen: dict[int, int] = {}
        for drawn in range(first, last):
            number, place = divmod(drawn, self.n)
            if number != self._order_of:
                self._order = np.random.default_rng([self.seed, number]).permutation(self.n)
                self._order_of = number
            position = int(self._order[place])
            repeat = seen.get(position, 0)
            seen[position] = repeat + 1
            yield step, position, repeat


class _BySteps(Sampler[Draw]):
    """One Lightning epoch is ``steps_per_epoch`` steps; the loader must use ``batch_size`` of this sampler."""

    def __init__(self, n: int, batch_size: int, seed: int, steps_per_epoch: int | None) -> None:
        if n < 1:
            raise ValueError("nothing to sample from")
        self.n, self.batch_size, self.seed = n, batch_size, seed
        self.steps_per_epoch = steps_per_epoch or -(-n // batch_size)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps_per_epoch * self.batch_size

    def step(self, step: int) -> list[Draw]:
        """The draws of one step."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Draw]:
        first = self.epoch * self.steps_per_epoch
        for step in range(first, first + self.steps_per_epoch):
            yield from self.step(step)


class UpTo(Sampler[Draw]):
    """The draws of another sampler from one step on up to a number of steps in all, so that the last epoch may be shorter.

    Of ``parts`` processes that share each step equally, number ``part`` takes the draws part, part + parts, …: together they
    draw what one process draws. A domain's draws of a step stand side by side, so each share has α as nearly as whole faces
    allow.

    It has no length, as Lightning would take that of the first epoch for every one. Without a length Lightning fetches the
    first batch before it says which epoch it is, so this counts for itself: an iteration is an epoch.
    """

    def __init__(self, sampler: _BySteps, first: int, steps: int, part: int = 0, parts: int = 1) -> None:
        if sampler.batch_size % parts:
            raise ValueError(f"{parts} processes can't share {sampler.batch_size} draws of a step equally")
        self.sampler, self.next, self.steps, self.part, self.parts = sampler, first, steps, part, parts

    def __iter__(self) -> Iterator[Draw]:
        first, self.next = self.next, min(self.next + self.sampler.steps_per_epoch, self.steps)
        for step in range(first, self.next):
            yield from self.sampler.step(step)[self.part :: self.parts]


class StepSampler(_BySteps):
    """Draws from one domain: pass after pass over n faces, each pass in a seeded order of its own.

    Args:
        n: number of faces; a domain smaller than a batch starts again within it.
        batch_size: draws per step.
        seed: seed of the orders.
        steps_per_epoch: steps per iteration over the sampler; one pass (rounded up) by default.
    """

    def __init__(self, n: int, batch_size: int, seed: int, steps_per_epoch: int | None = None) -> None:
        super().__init__(n, batch_size, seed, steps_per_epoch)
        self._passes = _Passes(n, seed)

    def step(self, step: int) -> list[Draw]:
        return list(self._passes.draws(step, step * self.batch_size, (step + 1) * self.batch_size))


class DomainMixSampler(_BySteps):
    """Draws from two domains; **α is the share of synthetic samples in a batch**.

    Step t has floor((t + 1) αB + φ) - floor(t αB + φ) synthetic draws: αB where that is whole, else one of the two
    numbers around it, so evenly that after any number of steps the share is right to within one draw. φ in [0, 1) comes
    from the seed, which makes αB the expectation at every single step, too. Real draws fill the batch. Each domain is
    reshuffled and started again on its own. Positions count the real faces first, then the synthetic ones.

    At α = 0 the draws are those of a :class:`StepSampler` of the real faces alone, at α = 1 of the synthetic ones.

    Args:
        n_real: number of real faces.
        n_synthetic: number of synthetic faces.
        alpha: share of synthetic samples, 0 to 1.
        batch_size: draws per step.
        seed: seed of the orders.
        steps_per_epoch: steps per iteration over the sampler; one pass over as many as there are of both by default.

    Raises:
        ValueError: α outside [0, 1], or a domain that is drawn from and empty.
    """

    def __init__(
        self, n_real: int, n_synthetic: int, alpha: float, batch_size: int, seed: int, steps_per_epoch: int | None = None
    ) -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}; it lies between 0 and 1")
        if (alpha < 1 and n_real < 1) or (alpha > 0 and n_synthetic < 1):
            raise ValueError("nothing to sample from in one of the domains")
        super().__init__(n_real + n_synthetic, batch_size, seed, steps_per_epoch)
        self.n_real = n_real
        # In fractions: t * 0.3 * 10 as floats falls below a whole number now and then.
        self._per_step = Fraction(alpha).limit_denominator(1_000_000) * batch_size
        self._phase = Fraction(int(np.random.default_rng([seed, 0x6D6978]).integers(1 << 20)), 1 << 20)
        self._real, self._synthetic = _Passes(n_real, seed), _Passes(n_synthetic, seed)

    def synthetic_before(self, step: int) -> int:
        """Number of synthetic draws in the steps before this one."""
        return int(step * self._per_step + self._phase)  # positive: int is floor

    def step(self, step: int) -> list[Draw]:
        first, last = self.synthetic_before(step), self.synthetic_before(step + 1)
        real = self._real.draws(step, step * self.batch_size - first, (step + 1) * self.batch_size - last)
        synthetic = self._synthetic.draws(step, first, last)
        return [*real, *((s, self.n_real + position, repeat) for s, position, repeat in synthetic)]
