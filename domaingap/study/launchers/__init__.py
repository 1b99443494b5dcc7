"""Who does orders: this process, several on this machine, or a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from domaingap.errors import StorageError, UserError, trouble
from domaingap.study.orders import Order, Outcome


@dataclass(frozen=True)
class Event:
    """What happened to an order.

    Attributes:
        key: the order's.
        kind: ``progress`` tells how far it is, ``done`` and ``failed`` end it, ``lost`` says that its process was killed.
        outcome: of one that is done.
        message: why it failed or what was lost, in a line.
        fault: ``user`` where settings or data can't be, ``storage`` where files can't be written, else ``other``.
        title: what it is at; with ``step`` of ``steps``.
        reached: optimiser steps of the order that are behind, over all its networks.
    """

    key: str
    kind: Literal["progress", "done", "failed", "lost"]
    outcome: Outcome | None = None
    message: str = ""
    fault: Literal["user", "storage", "other"] = "other"
    title: str = ""
    step: float = 0
    steps: float = 0
    reached: float = 0


def failed(order: Order, error: Exception) -> Event:
    """The event of an order that ended with an error."""
    if isinstance(error, UserError):
        fault: Literal["user", "storage"] = "storage" if isinstance(error, StorageError) else "user"
        return Event(order.key, "failed", message=str(error), fault=fault)
    return Event(
        order.key, "failed", message=trouble(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    )


class Launcher(Protocol):
    """Takes orders.

    Attributes:
        slots: how many it takes at once.
    """

    slots: int

    def start(self, orders: Sequence[Order]) -> None:
        """Begin orders; at most as many as slots are free. What they print goes to their logs."""

    def events(self, timeout: float) -> list[Event]:
        """What has happened since the last call; waits up to ``timeout`` seconds for something."""

    def stop(self) -> None:
        """End what is under way, so that it can go on later, and give everything back. Can be called again."""
