"""One file over HTTP: goes on where it broke off, in this call or in a later one, and never takes a part for the whole."""

from __future__ import annotations

import errno
import json
import re
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError, IncompleteRead

from domaingap import __version__
from domaingap.errors import UserError
from domaingap.hashing import write_json
from domaingap.progress import Advance, amount, console

CHUNK = 1 << 16
REDIRECTS = 5


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for: seconds, and how often in a row it may fail without a byte more."""

    connect_s: float = 15
    silence_s: float = 30
    tries: int = 5
    pause_s: float = 1
    longest_pause_s: float = 120
    slow_s: float = 60
    slow_bytes: int = 60 << 10


PATIENCE = Patience()


class _AgainError(Exception):
    """The transfer broke off and may go on, after ``wait`` seconds where the server says how long."""

    def __init__(self, problem: str, wait: float | None = None) -> None:
        super().__init__(problem)
        self.wait = wait


def download(url: str, target: Path, title: str, limit: int, reserve: int) -> None:
    """Bring ``target`` to the whole of what lies behind an address; beside it, ``.json`` says which file it is a part of.

    Args:
        url: http or https. Redirects are followed, from https to https only.
        target: where the file is put; what an earlier call left there is gone on with, if the server still has that file.
        title: for messages.
        limit: the most bytes that are taken.
        reserve: bytes that must stay free beside it.

    Raises:
        UserError: it can't be had. What came is kept where a later call can go on.
    """
    failures, furthest = 0, _size(target)
    while True:
        try:
            _attempt(url, target, title, limit, reserve)
            return
        except _AgainError as error:
            have = _size(target)
            # A server without ranges begins anew each time: only what goes beyond the best so far is progress.
            failures = failures + 1 if have <= furthest else 0
            furthest = max(furthest, have)
            kept = f"{amount(have)} are kept; " if have else ""
            if failures >= PATIENCE.tries:
                times = f"{PATIENCE.tries} times in a row"
                raise UserError(f"{url}: {error}, {times}; {kept}give the same command again to go on") from error
            wait = error.wait if error.wait is not None else PATIENCE.pause_s * 2 ** max(failures - 1, 0)
            if wait > PATIENCE.longest_pause_s:
                raise UserError(
                    f"{url}: {error} and asks to come back in {wait:.0f} s; {kept}give the same command again then"
                ) from error
            console.print(f"{title}: {error}; {kept}trying again in {wait:.0f} s", markup=False)
            time.sleep(wait)
        except OSError as error:
            raise unwritable(target, error) from error


def forget(target: Path) -> None:
    """Remove a file that was downloaded, whole or in part."""
    for path in (target, _state_file(target)):
        path.unlink(missing_ok=True)


def check_room(folder: Path, need: int) -> None:
    """UserError where a folder's disk has less room than ``need`` bytes."""
    free = shutil.disk_usage(folder).free
    if free < need:
        raise UserError(
            f"{folder}: {amount(need)} are needed and {amount(free)} are free; make room, or choose another --data_root"
        )


def unwritable(target: Path, error: OSError) -> UserError:
    """What to say of a file that couldn't be written, or made beside others."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{target.parent}: no room left; what came is kept; make room and give the same command again")
    return UserError(f"{error.filename or target}: can't be written ({error.strerror or error}); choose another --data_root")


def _attempt(url: str, target: Path, title: str, limit: int, reserve: int) -> None:
    state, have = _read_state(target, url), _size(target)
    if state.get("done") and have == state["size"]:
        return
    validator = str(state.get("validator") or "")
    if not validator:
        have = 0  # nothing says whether the server still has the same file
    # Compressed on the way, a byte's place would be another one.
    headers: dict[str, str] = {"User-Agent": f"domaingap/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with requests.Session() as session:
        answer = _ask(session, url, headers)
        with answer:
            start, size = _begin(answer, target, title, have, state)
            if start is None:
                return
            if size is not None and size > limit:
                raise UserError(
                    f"{url}: announces {amount(size)}, more than the {amount(limit)} that {title} can have; not taken"
                )
            check_room(target.parent, (size or start) - start + reserve)
            if not start:
                state = {"url": url, "size": size, "validator": _validator(answer)}
                target.unlink(missing_ok=True)
                write_json(_state_file(target), state)
            _receive(answer, target, title, start, size, limit)
    have = _size(target)
    write_json(_state_file(target), {**state, "size": have, "done": True})


def _ask(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """The answer to a request, after redirects; its body isn't read yet."""
    here = url
    try:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UserError(f"{url}: not an address that begins with http:// or https://")
        for _ in range(REDIRECTS + 1):
            # No credentials of a .netrc: what is fetched here is open to everybody.
            answer = session.get(
                here, headers=headers, stream=True, allow_redirects=False, auth=lambda request: request,
                timeout=(PATIENCE.connect_s, PATIENCE.silence_s),
            )  # fmt: skip
            if not answer.is_redirect:
                return answer
            there = urljoin(here, answer.headers["Location"])
            answer.close()
            if urlsplit(there).scheme not in ({"https"} if urlsplit(here).scheme == "https" else {"http", "https"}):
                raise UserError(f"{here}: sends on to {there}, which isn't safe; nothing was taken")
            here = there
    except requests.exceptions.SSLError as error:
        advice = "set REQUESTS_CA_BUNDLE where your network has certificates of its own"
        raise UserError(f"{here}: its certificate isn't accepted ({_reason(error)}); {advice}") from error
    except requests.exceptions.ProxyError as error:
        raise _AgainError(f"the proxy (HTTPS_PROXY, HTTP_PROXY) doesn't answer ({_reason(error)})") from error
    except requests.Timeout as error:
        raise _AgainError(f"{urlsplit(here).netloc} doesn't answer") from error
    except requests.exceptions.InvalidProxyURL as error:
        raise UserError(
            "HTTPS_PROXY or HTTP_PROXY holds no address of a proxy, such as http://proxy.example:8080"
        ) from error
    except requests.exceptions.InvalidSchema as error:
        raise UserError("HTTPS_PROXY or ALL_PROXY names a SOCKS proxy, for which the package pysocks is needed") from error
    except (requests.exceptions.InvalidURL, ValueError, TypeError) as error:  # TypeError: a proxy without a host
        raise UserError(f"{here}: this address, or the proxy's in HTTPS_PROXY or HTTP_PROXY, can't be read") from error
    except requests.RequestException as error:
        raise _AgainError(f"no connection to {urlsplit(here).netloc} ({_reason(error)})") from error
    raise UserError(f"{url}: sends on more than {REDIRECTS} times; nothing was taken")


def _begin(
    answer: requests.Response, target: Path, title: str, have: int, state: dict[str, Any]
) -> tuple[int | None, int | None]:
    """At which byte the body of an answer begins (None: all is here already), and the whole file's size where it is said."""
    _check_status(answer)
    if answer.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise UserError(f"{answer.url}: comes in a changed form ({answer.headers['Content-Encoding']}); is a proxy between?")
    if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise UserError(
            f"{answer.url}: a web page came instead of the file; open the address in a browser and see what it says"
        )
    length = answer.headers.get("Content-Length", "")
    length_said = int(length) if length.isascii() and length.isdigit() else None
    if answer.status_code == 200:
        if have:
            changed = state.get("validator") != _validator(answer)
            why = "the file has changed there" if changed else "the server can't go on in the middle"
            console.print(f"{title}: {why}; from the start", markup=False)
        return 0, length_said
    said = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    size = int(said[2]) if said and said[2].isdigit() else None
    if answer.status_code == 416 and size == have:
        write_json(_state_file(target), {**state, "size": have, "done": True})
        return None, size
    known = state.get("size")
    if answer.status_code == 416 or not said or said[1] != str(have) or (size and known and size != known):
        forget(target)
        raise _AgainError("the server sends another part than was asked for")
    return have, size or known


def _check_status(answer: requests.Response) -> None:
    status, where = answer.status_code, answer.url
    if status in (200, 206, 416):
        return
    reason = f"{status} {answer.reason or ''}".strip()
    if status in (404, 410):
        raise UserError(f"{where}: isn't there ({reason}); see the data set's page, and give a new address with --url")
    if status in (401, 403):
        raise UserError(f"{where}: refused ({reason}); open the data set's page in a browser, or try again later")
    if status == 407:
        raise UserError(
            f"{where}: the proxy asks for a login ({reason}); put it into HTTPS_PROXY, as http://user:password@proxy"
        )
    if status in (408, 425, 429) or status >= 500:
        raise _AgainError(f"the server is busy ({reason})", _retry_after(answer.headers.get("Retry-After", "")))
    raise UserError(f"{where}: an answer that isn't understood ({reason}); try again later")


def _receive(answer: requests.Response, target: Path, title: str, start: int, size: int | None, limit: int) -> None:
    """Append the body to the file."""
    done, since, came = start, time.monotonic(), 0
    try:
        with open(target, "r+b" if start else "wb") as file, Advance(f"downloading {title}", size, start) as advance:
            file.seek(start)
            file.truncate()
            # Whatever has arrived, so that a trickle is seen as one.
            while chunk := answer.raw.read1(CHUNK, decode_content=False):
                done, came = done + len(chunk), came + len(chunk)
                if done > limit:
                    raise UserError(f"{answer.url}: sends more than the {amount(limit)} that {title} can have; not taken")
                file.write(chunk)
                file.flush()  # a killed process leaves what it got
                advance.to(done)
                if (now := time.monotonic()) - since > PATIENCE.slow_s:
                    if came < PATIENCE.slow_bytes:
                        raise _AgainError(f"only {came / PATIENCE.slow_s:.0f} bytes a second come")
                    since, came = now, 0
    except HTTPError as error:
        raise _AgainError(f"broke off ({_reason(error)})") from error
    except UserError:
        forget(target)
        raise
    if size is not None and done != size:
        raise _AgainError(f"broke off ({done} of {size} bytes)")


def _retry_after(text: str) -> float | None:
    """Seconds that a server asks to wait, which it says as a number or as a date."""
    if text.strip().isascii() and text.strip().isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _validator(answer: requests.Response) -> str | None:
    """What If-Range may hold: a strong ETag, else the time of the last change."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified")


def _state_file(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def _read_state(target: Path, url: str) -> dict[str, Any]:
    try:
        state = dict(json.loads(_state_file(target).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
    return state if state.get("url") == url else {}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _reason(error: BaseException) -> str:
    """The innermost cause in a few words: those around it repeat addresses, and a proxy's may hold a password."""
    if isinstance(error, IncompleteRead):
        return "the connection was closed"
    inner: Any = error
    while (deeper := getattr(inner, "reason", None) or inner.__cause__ or inner.__context__) is not None:
        if not isinstance(deeper, BaseException) or deeper is inner:
            break
        inner = deeper
    if isinstance(inner, TimeoutError):
        return f"nothing came for {PATIENCE.silence_s:g} s"
    return str(getattr(inner, "strerror", None) or type(inner).__name__)
