"""What may be fetched openly, and how it gets to its folder: whole, checked, or not at all.

Below the data root, ``.fetch/`` holds what is under way (``NAME.zip``, ``NAME.unpacking/``) and ``checksums.json``: what
came the first time, with which later downloads are compared. A fetched folder has ``SHA256SUMS``, which ``sha256sum -c``
reads, and ``fetched.json``: where it is from, under what licence.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from domaingap import sources
from domaingap.data.transfer import download, forget, unwritable
from domaingap.data.unpack import ArchiveError, Unpacked, unpack
from domaingap.errors import DataError, UserError
from domaingap.hashing import write_atomically, write_json
from domaingap.progress import track
from domaingap.sources import Licence
from domaingap.store import file_digest, locked

SUMS, RECORD = "SHA256SUMS", "fetched.json"


@dataclass(frozen=True, kw_only=True)
class Download:
    """An archive that anybody may download, and what is in it.

    Attributes:
        name: on the command line.
        title: in text.
        folder: where its files go, below the data root.
        url: of a zip archive.
        size: bytes of the archive as published; None where nobody says.
        unpacked: bytes of the wanted files, about.
        wanted: path of a wanted file below the data's folder in the archive.
        counted: what it must hold: a name, which files, how many.
        content: SHA-256 of the ``SHA256SUMS`` of its files, where it was verified on a copy of the release.
        checksums: SHA-256 of single files, likewise.
        commit: of a Git archive.
        licence: terms of use.
        citation: who made it.
        homepage: where it is from.
        caution: what else to know before it is used.
    """

    name: str
    title: str
    folder: str
    url: str
    size: int | None
    unpacked: int
    wanted: re.Pattern[str]
    counted: Mapping[str, tuple[re.Pattern[str], int]]
    content: str | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    licence: Licence
    citation: str
    homepage: str
    caution: str = ""

    @property
    def holds(self) -> str:
        """What is in it, in words."""
        return ", ".join(f"{n:,} {what}" for what, (_, n) in self.counted.items())

    def missing(self, paths: list[str]) -> str | None:
        """In what a list of files differs from what is published; None where it doesn't."""
        found = {what: sum(map(bool, map(pattern.fullmatch, paths))) for what, (pattern, _) in self.counted.items()}
        return next((f"{found[what]:,} of {n:,} {what}" for what, (_, n) in self.counted.items() if found[what] != n), None)


@dataclass(frozen=True)
class ByHand:
    """A data set that this program doesn't fetch: its owners hand it out themselves, after a form or an agreement."""

    name: str
    title: str
    page: str
    folder: str
    layout: str
    licence: Licence
    citation: str
    why: str = "isn't handed out openly"


def _face_synthetics(n: int, size: int, unpacked: int, content: str | None = None) -> Download:
    about = sources.source("face_synthetics")
    files = {"images": r"\.png", "segmentations": r"_seg\.png", "landmark files": r"_ldmks\.txt"}
    return Download(
        name=f"face_synthetics_{n}",
        title=f"{about.title}, {n:,} images",
        folder=str(about.folder),
        # As the release's page links it [unverified: no network where this was written]; sizes are those of its README.
        url=f"https://facesyntheticspubwedata.z6.web.core.windows.net/iccv-2021/dataset_{n}.zip",
        size=size,
        unpacked=unpacked,
        wanted=re.compile(r"\d{6,}(?:\.png|_seg\.png|_ldmks\.txt)"),
        counted={what: (re.compile(r"\d{6,}" + ending), n) for what, ending in files.items()},
        content=content,
        licence=about.licence,
        citation=about.citation,
        homepage=about.homepage,
    )


@cache
def downloads() -> dict[str, Download]:
    """All that can be fetched, by name."""
    ict = "da5f95a607f5e6b37755b38d3385d7f2853732e5"
    valid = "c4719df7a2b60a96cc7f56d67e247674b68c4ea7"
    found = [
        _face_synthetics(
            100, 34_000_000, 35_301_976,
            # Of the sample's 300 files as they were unpacked from the release.
            content="c4a80c50f1130ece0a24b158887648b3d7562b77487e58e3d27046435ea31eaf",
        ),
        _face_synthetics(1_000, 320_000_000, 350_000_000),
        _face_synthetics(100_000, 32_000_000_000, 35_000_000_000),
        Download(
            name="ict_facekit",
            title="ICT-FaceKit, the light face model",
            folder="ict_facekit",
            # The commit that others pin as well; its archive hasn't been downloaded from here [unverified].
            url=f"https://github.com/USC-ICT/ICT-FaceKit/archive/{ict}.zip",
            size=None,
            unpacked=404_000_000,  # 158 meshes of 2.6 MB
            wanted=re.compile(r"FaceXModel/[^/]+\.(?:obj|mtl|json)|LICENSE|README\.md"),
            counted={
                "identity shapes": (re.compile(r"FaceXModel/identity\d{3}\.obj"), 100),
                "expression shapes": (re.compile(r"FaceXModel/(?!identity|generic)\w+\.obj"), 57),
                "neutral mesh": (re.compile(r"FaceXModel/generic_neutral_mesh\.obj"), 1),
            },
            checksums={"LICENSE": "b20a78d8fc51657e14f3e00c8abb538d786ad00aa63210328c22565e583167e1"},
            commit=ict,
            licence=Licence("MIT", False, f"https://github.com/USC-ICT/ICT-FaceKit/blob/{ict}/LICENSE"),
            citation="Li et al., Learning formation of physically-based face attributes, CVPR 2020",
            homepage="https://github.com/USC-ICT/ICT-FaceKit",
        ),
        Download(
            name="valid_avatars",
            title="VALID avatars as glTF",
            folder="valid_avatars",
            url=f"https://github.com/c-frame/valid-avatars-glb/archive/{valid}.zip",
            size=457_000_000,
            unpacked=457_000_000,
            wanted=re.compile(r"avatars/[\w-]+/[\w-]+\.glb|avatars\.json|LICENSE|README\.md"),
            # Those that avatars.json lists; the archive has further outfits.
            counted={"avatars": (re.compile(r"avatars/.+(?<!_Default)\.glb"), 210)},
            checksums={
                "LICENSE": "df3fe1ee3def750c6e8512421dc8f61288783ef95bf99fa4229824a373f03fea",
                "avatars.json": "b659cb8a2f33dd8d9fc7e4fdb79e9d7f40cb0b7d9dc4679a949850ea5ac9edc0",
                "README.md": "1530096340e2ccd1848a287c09d185d894b10b1f15a745fff419d6bb6840f9f8",
            },
            commit=valid,
            licence=Licence("MIT", False, f"https://github.com/c-frame/valid-avatars-glb/blob/{valid}/LICENSE"),
            citation="Do et al., VALID: a perceptually validated virtual avatar library for inclusion and diversity, "
            "Frontiers in Virtual Reality 2023",
            homepage="https://github.com/xrtlab/Validated-Avatar-Library-for-Inclusion-and-Diversity---VALID",
            caution="MIT is what its authors state; the meshes look like a character generator's: ask before selling",
        ),
    ]  # fmt: skip
    return {one.name: one for one in found}


@cache
def by_hand() -> dict[str, ByHand]:
    """What can't be fetched, by name: its page, and the folder that it is expected in."""
    fetched = {one.folder for one in downloads().values()}
    read = [about for name in sources.names() if (about := sources.source(name)).folder not in (None, *fetched)]
    found = [ByHand(s.name, s.title, s.homepage, str(s.folder), s.layout, s.licence, s.citation) for s in read]
    photographs = sources.source("300w")
    found += [
        ByHand(
            "300w_private", "300-W's private set", "https://ibug.doc.ic.ac.uk/resources/300-W/",
            str(photographs.folder), "01_Indoor/, 02_Outdoor/", photographs.licence, photographs.citation,
        ),
        ByHand(
            "300vw", "300-VW", "https://ibug.doc.ic.ac.uk/resources/300-VW/",
            "300vw", "NNN/vid.avi and NNN/annot/000001.pts", Licence("research only", True, verified=False),
            "Shen et al., The first facial landmark tracking in-the-wild challenge, ICCV workshops 2015",
        ),
        ByHand(
            "hdris", "Poly Haven's HDRIs: light for generated faces", "https://polyhaven.com/hdris",
            "hdris", "*.hdr, 1k is enough, a dozen places or more", Licence("CC0", False, "https://polyhaven.com/license"),
            "Poly Haven", "is a choice of single pictures, free for all",
        ),
    ]  # fmt: skip
    return {one.name: one for one in found}


@dataclass(frozen=True)
class Fetched:
    """A whole data set in its folder: how many files and bytes, whether it was there before, how its content was checked."""

    folder: Path
    files: int
    size: int
    there_before: bool
    check: str
    passed_over: Mapping[str, int] = field(default_factory=dict)


def fetch(what: Download, data_root: Path, url: str | None = None) -> Fetched:
    """Download and unpack a data set below the data root, or find it there; goes on where an earlier call stopped.

    Args:
        what: the data set.
        data_root: folder that holds the data sets; made where it isn't there.
        url: another address of the same archive.

    Raises:
        UserError: it can't be had, isn't what it should be, or something else is in its place, which is never touched.
    """
    work, folder = data_root / ".fetch", data_root / what.folder
    archive, unpacking = work / f"{what.name}.zip", work / f"{what.name}.unpacking"
    if (there := _there(what, folder)) is not None and not archive.exists() and not unpacking.exists():
        return there  # also where nothing can be written
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{work}: can't be made ({error.strerror}); choose another --data_root") from error
    with locked(work / f"{what.folder}.lock", str(folder), "--data_root"):
        if (there := _there(what, folder)) is None:
            download(url or what.url, archive, what.name, 2 * (what.size or what.unpacked) + (1 << 20), what.unpacked)
            try:
                _remove(unpacking)
                unpacked = unpack(archive, unpacking, what.wanted, 10_000 + 4 * _expected(what), 2 * what.unpacked)
                there = _put(what, unpacked, unpacking, folder, work, url or what.url)
            except ArchiveError:
                forget(archive)  # it would be no other one the next time
                _remove(unpacking)
                raise
            except OSError as error:
                raise unwritable(folder, error) from error
        forget(archive)
        _remove(unpacking)
        return there


def _expected(what: Download) -> int:
    return sum(n for _, n in what.counted.values())


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(f"{error.filename}: can't be removed ({error.strerror}); delete {folder} yourself") from error


def _there(what: Download, folder: Path) -> Fetched | None:
    """The data set where its folder is there; None where there is none, or an empty one."""
    if not os.path.lexists(folder):
        return None
    if not folder.is_dir():
        raise UserError(f"{folder}: a file, or a link to nowhere, where {what.title} goes; move it away")
    away = "move it away, or choose another --data_root; nothing was changed"
    try:
        record = _read_json(folder / RECORD)
        paths = sorted(_files(folder))
        if not paths:
            try:
                folder.rmdir()
            except OSError as error:
                if any(_files(folder)):  # put there just now by another process
                    return _there(what, folder)
                raise UserError(f"{folder}: holds hidden files or empty folders only, and no data; delete it") from error
            return None
        if record and record.get("name") != what.name:
            raise UserError(f"{folder}: holds {record.get('title')}, not {what.title}; {away}")
        if record:
            sums = {line[66:]: line[:64] for line in (folder / SUMS).read_text(encoding="utf-8").splitlines()}
            if (problem := _differs(folder, sums)) is not None:
                raise UserError(f"{folder}: was fetched whole, but {problem} since; {away}")
            size = sum((folder / path).stat().st_size for path in sums)
            return Fetched(folder, len(sums), size, True, "every checksum is the one it was fetched with")
        # Put there by hand, or by an earlier version.
        if (lacking := what.missing(paths)) is not None:
            raise UserError(f"{folder}: holds {lacking}, so it isn't {what.title}; {away}")
        wanted = [path for path in paths if what.wanted.fullmatch(path)]
        size = sum((folder / path).stat().st_size for path in wanted)
        if what.content is None:
            return Fetched(folder, len(wanted), size, True, "not checked: it wasn't fetched from here")
        content = _content(
            {path: file_digest(folder / path) for path in track(wanted, len(wanted), f"checking {folder.name}")}
        )
        if content != what.content:
            raise UserError(f"{folder}: holds as many files as {what.title}, but others; {away}")
        return Fetched(folder, len(wanted), size, True, "checksum verified")
    except (OSError, ValueError) as error:
        raise DataError(folder, f"can't be read ({error})", advice=away) from error


def _differs(folder: Path, sums: Mapping[str, str]) -> str | None:
    for path, digest in track(sums.items(), len(sums), f"checking {folder.name}"):
        if not (folder / path).is_file():
            return f"{path} is missing"
        if file_digest(folder / path) != digest:
            return f"{path} has changed"
    return None


def _put(what: Download, unpacked: Unpacked, unpacking: Path, folder: Path, work: Path, url: str) -> Fetched:
    """Check what was unpacked and move it to its place, in one step."""
    lacking = what.missing(list(unpacked.files))
    if lacking is not None:
        raise ArchiveError(f"{url}: holds {lacking}; nothing was put into {folder}")
    if what.commit is not None and re.fullmatch(r"[0-9a-f]{40}", unpacked.comment) and unpacked.comment != what.commit:
        raise ArchiveError(f"{url}: is of commit {unpacked.comment}, not {what.commit}; nothing was put into {folder}")
    content = _content(unpacked.files)
    first = _read_json(work / "checksums.json")
    known = first.get(what.name) or {}
    if not isinstance(known, dict) or not known.keys() <= {"date", "url", "content"}:
        raise UserError(f"{work / 'checksums.json'}: damaged ({what.name}); delete it, and give the same command again")
    for path, digest in what.checksums.items():
        if unpacked.files.get(path) != digest:
            raise ArchiveError(
                f"{url}: {path} isn't the release's (SHA-256 {unpacked.files.get(path)}, not {digest}); not taken"
            )
    if what.content not in (None, content):
        raise ArchiveError(
            f"{url}: isn't the release (content {content}, not {what.content}); nothing was put into {folder}"
        )
    if known.get("content", content) != content:
        raise ArchiveError(
            f"{url}: holds something else than on {known.get('date')} (content {content}, not {known['content']}); "
            f"not taken; if its makers have changed it, take {what.name} out of {work / 'checksums.json'}"
        )
    date = datetime.now(UTC).date().isoformat()
    about: dict[str, Any] = {"name": what.name, "title": what.title, "url": url, "date": date, "content": content}
    about |= {"licence": asdict(what.licence), "citation": what.citation, "homepage": what.homepage}
    write_atomically(unpacking / SUMS, _sums(unpacked.files))
    write_json(unpacking / RECORD, {**about, "files": len(unpacked.files), "bytes": unpacked.size})
    if not known:
        write_json(work / "checksums.json", {**first, what.name: {key: about[key] for key in ("date", "url", "content")}})
    if hasattr(os, "sync"):
        os.sync()  # all the files at once, before the name that says that they are whole
    try:
        os.rename(unpacking, folder)
    except OSError as error:
        raise UserError(f"{folder}: can't be made ({error.strerror}); move away what is there") from error
    check = (
        "checksum verified"
        if what.content
        else "as the first time"
        if known
        else "checksum written down: the first download"
    )
    return Fetched(folder, len(unpacked.files), unpacked.size, False, check, unpacked.passed_over)


def _sums(files: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(files.items()))


def _content(files: Mapping[str, str]) -> str:
    return hashlib.sha256(_sums(files).encode()).hexdigest()


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in (SUMS, RECORD) and not path.name.startswith("."):
            yield path.relative_to(folder).as_posix()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it, and give the same command again") from error
