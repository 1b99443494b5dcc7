"""numba's compiler, with what it has compiled kept on disk wherever there is a place for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numba

from domaingap.hashing import private_folder


class _Forgiving:
    """A cache of numba's, which is none, rather than an error, where it can't be read or written."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, *of: Any) -> Any:
        with contextlib.suppress(OSError):
            return self._cache.load_overload(*of)
        return None

    def save_overload(self, *of: Any) -> None:
        with contextlib.suppress(OSError):
            self._cache.save_overload(*of)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(cache=True, **options)``, which raises where neither the package nor the user's cache folder can be
    written. What is compiled then goes to a folder for temporary files, or has to be compiled in every process."""

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = numba.njit(**options)(function)
        if not _enable_cache(dispatcher) and (place := private_folder("numba")) is not None:
            config: Any = numba.config
            config.CACHE_DIR = str(place)
            _enable_cache(dispatcher)
        return dispatcher

    return decorate


def _enable_cache(dispatcher: Any) -> bool:
    try:
        dispatcher.enable_caching()
    except (RuntimeError, OSError):
        return False
    dispatcher._cache = _Forgiving(dispatcher._cache)
    return True
