"""A zip archive that comes from elsewhere, unpacked so that nothing of it lands outside its folder or fills the disk."""

from __future__ import annotations

import errno
import hashlib
import lzma
import re
import stat
import unicodedata
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from domaingap.data.transfer import check_room, unwritable
from domaingap.errors import UserError
from domaingap.progress import amount, track

RATIO, RATIO_FROM = 200, 1 << 20
"""How many times its compressed size a file may have, from so many bytes on: pictures and meshes stay below 20."""
COMPANIONS = re.compile(r"(?:^|/)(?:__MACOSX/.*|\.DS_Store|\._[^/]*|Thumbs\.db)$")


class ArchiveError(UserError):
    """An archive that isn't whole, or isn't safe."""


@dataclass(frozen=True)
class Unpacked:
    """What was unpacked.

    Attributes:
        files: SHA-256 by path, with slashes, sorted.
        size: bytes of all files.
        passed_over: how many files of the archive were left out, by reason.
        comment: the archive's; Git writes the commit there.
    """

    files: dict[str, str]
    size: int
    passed_over: Counter[str]
    comment: str


def unpack(archive: Path, into: Path, wanted: re.Pattern[str], most_files: int, most_bytes: int) -> Unpacked:
    """Unpack the wanted files of an archive into a new folder; nothing is written before all its names have been looked at.

    Args:
        archive: a zip file.
        into: a folder that isn't there yet.
        wanted: the whole path of a file below the folder in the archive that holds the data, wherever that is.
        most_files: the most files that the archive may have.
        most_bytes: the most bytes that the wanted ones may have together.

    Raises:
        ArchiveError: damaged, or unsafe: paths that lead outside, links, names that are one on some file systems, bombs.
        UserError: ``into`` can't be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            chosen, passed_over = _choose(archive, opened.infolist(), wanted, most_files, most_bytes)
            check_room(into.parent, sum(info.file_size for info in chosen.values()))
            into.mkdir()
            digests, size = {}, 0
            for path, info in track(sorted(chosen.items()), len(chosen), f"unpacking {archive.name}"):
                digests[path], n_bytes = _write(opened, info, into / path, most_bytes - size)
                size += n_bytes
            return Unpacked(digests, size, passed_over, opened.comment.decode("utf-8", "replace"))
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
    ) as error:
        raise ArchiveError(f"{archive}: no whole zip archive ({str(error) or type(error).__name__})") from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # a damaged stream of bz2; a place before the file's beginning
            raise ArchiveError(f"{archive}: no whole zip archive ({error})") from error
        raise unwritable(into, error) from error


def _choose(
    archive: Path, entries: list[zipfile.ZipInfo], wanted: re.Pattern[str], most_files: int, most_bytes: int
) -> tuple[dict[str, zipfile.ZipInfo], Counter[str]]:
    """The wanted entries by the path that they get."""
    if len(entries) > most_files:
        raise ArchiveError(
            f"{archive}: {len(entries)} files, more than the {most_files} that it can have; nothing was unpacked"
        )
    passed_over, files = Counter[str](), []
    for info in entries:
        _check_name(archive, info.orig_filename)
        if info.is_dir():
            continue
        if COMPANIONS.search(info.filename):
            passed_over["companion files of an operating system"] += 1
        elif (place := _place(info.filename, wanted)) is None:
            passed_over["files that aren't needed here"] += 1
        else:
            files.append((place, info))
    if not files:
        raise ArchiveError(f"{archive}: holds nothing of what is expected in it; nothing was unpacked")
    # The data lie in one folder of the archive, the outermost that holds some.
    top = min((place for place, _ in files), key=lambda place: (place.count("/"), place))
    passed_over["files that aren't needed here"] += sum(place != top for place, _ in files)
    chosen = {info.filename.removeprefix(top): info for place, info in files if place == top}
    _check_apart(archive, [info.filename.removeprefix(top) for place, info in files if place == top])
    for info in chosen.values():
        _check_kind(archive, info)
    total = sum(info.file_size for info in chosen.values())
    if total > most_bytes:
        raise ArchiveError(
            f"{archive}: {amount(total)} unpacked, more than the {amount(most_bytes)} that it can have; a bomb?"
        )
    return chosen, +passed_over


def _place(name: str, wanted: re.Pattern[str]) -> str | None:
    """The folder of the archive, with a slash behind it, below which a path is a wanted one."""
    parts = name.split("/")
    return next(("/".join([*parts[:i], ""]) for i in range(len(parts)) if wanted.fullmatch("/".join(parts[i:]))), None)


def _check_name(archive: Path, name: str) -> None:
    # Backslashes and colons are separators, drives and streams on other systems.
    if name.startswith("/") or ".." in name.split("/") or re.search(r"[\\:\x00-\x1f\x7f]", name):
        raise ArchiveError(f"{archive}: holds {name!r}, which no data set's archive does; nothing was unpacked")


def _check_kind(archive: Path, info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        what = "a link" if kind == stat.S_IFLNK else "no plain file"
        raise ArchiveError(f"{archive}: {info.filename} is {what}, which no data set's archive holds; nothing was unpacked")
    if info.flag_bits & 1:
        raise ArchiveError(f"{archive}: {info.filename} is encrypted; nothing was unpacked")
    if info.file_size > max(RATIO_FROM, RATIO * info.compress_size):
        sizes = f"{amount(info.compress_size)} that become {amount(info.file_size)}"
        raise ArchiveError(f"{archive}: {info.filename} is {sizes}; a bomb? Nothing was unpacked")


def _check_apart(archive: Path, paths: list[str]) -> None:
    """No two names that are one where case or the form of accents doesn't count, and no file that is a folder as well."""
    seen: dict[str, str] = {}
    for path in paths:
        if (other := seen.get(_folded(path))) is not None:
            raise ArchiveError(f"{archive}: {other} and {path} are one file on some systems; nothing was unpacked")
        seen[_folded(path)] = path
    for path in paths:
        parts = path.split("/")
        for i in range(1, len(parts)):
            if (other := seen.get(_folded("/".join(parts[:i])))) is not None:
                raise ArchiveError(f"{archive}: {other} is a file and a folder; nothing was unpacked")


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most: int) -> tuple[str, int]:
    """Write one file; its SHA-256 and its size. zipfile compares the content with its checksum at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with opened.open(info) as content, open(path, "xb") as file:
        while chunk := content.read(1 << 20):
            size += len(chunk)
            if size > min(info.file_size, most):
                raise zipfile.BadZipFile(f"{info.filename} is larger than it says")
            digest.update(chunk)
            file.write(chunk)
    if size != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename} is smaller than it says")
    return digest.hexdigest(), size
