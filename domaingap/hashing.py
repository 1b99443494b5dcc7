"""Identity by content: canonical JSON and SHA-256."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def plain(value: Any) -> Any:
    """Settings as YAML and JSON have them: dataclasses as dictionaries, paths as text."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    return str(value) if isinstance(value, Path) else value


def flat(settings: Any, prefix: str = "") -> dict[str, str]:
    """Nested plain settings as text by dotted key."""
    if not isinstance(settings, Mapping):
        return {prefix: str(settings)}
    pairs = (flat(item, f"{prefix}.{key}" if prefix else str(key)).items() for key, item in settings.items())
    return {key: value for items in pairs for key, value in items}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no canonical form for {type(value)}")


def content_key(value: Any, length: int = 16) -> str:
    """A short hexadecimal key of JSON-like content (dataclasses and paths included), independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def digest(chunks: Iterable[bytes], length: int = 16) -> str:
    """A short hexadecimal digest of the chunks; where one ends and the next begins counts."""
    total = hashlib.sha256()
    for chunk in chunks:
        total.update(len(chunk).to_bytes(8, "little"))
        total.update(chunk)
    return total.hexdigest()[:length]


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """A temporary file of this process beside ``path``, which takes its place when the block ends without an error:
    readers never see half of it, also after a kill, and two processes that write it don't meet."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file or none of it; see :func:`replace_atomically`."""
    with replace_atomically(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in the given order."""
    write_atomically(path, json.dumps(value, indent=2, default=_plain) + "\n")
