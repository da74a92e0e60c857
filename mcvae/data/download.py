"""One file over HTTP: resumed after any interruption, retried, from several mirrors in order, and verified.

The unfinished part lies beside the target as ``.{file}.partial``; only verified bytes get the file's name.
"""

import gzip
import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from ..errors import UserError
from ..sources import SourceFile

log = logging.getLogger(__name__)

BLOCK = 1 << 16
TIMEOUT = (10, 60)
RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


class Unusable(Exception):
    """This URL does not deliver the file; another one may."""


class Undelivered(Exception):
    """None does; the text has every URL and its reason."""


def checksum(path: Path, algorithm: str) -> str:
    """The hexadecimal ``sha256`` or ``md5`` of a file, or ``content``: the SHA-256 of what it decompresses to."""
    if algorithm == "content":
        with gzip.open(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def mismatch(path: Path, row: SourceFile) -> str | None:
    """What is wrong with a file that should be ``row``'s official one, as a phrase, or ``None`` if it is that file."""
    size = path.stat().st_size
    if size != row.bytes:
        return f"expected {row.bytes:,} bytes, got {size:,}{_looks_like(path)}"
    for algorithm, expected in row.checksums:
        if algorithm != "content" and (got := checksum(path, algorithm)) != expected:
            return f"expected {algorithm} {expected}, got {got}{_looks_like(path)}"
    return None


def _looks_like(path: Path) -> str:
    with open(path, "rb") as file:
        start = file.read(512).lstrip().lower()
    return " (an HTML page)" if start.startswith((b"<!doctype html", b"<html")) else ""


def download(row: SourceFile, folder: Path, *, attempts: int = 5, backoff: float = 1.0) -> Path:
    """Fetch ``row`` into ``folder`` and return its path.

    Each URL gets ``attempts`` tries without progress, ``backoff`` 2^n seconds apart (a server's Retry-After counts, up
    to a minute). An unfinished part, of this process or one that was killed, is resumed with a Range request.

    Raises: Undelivered when no URL delivers the file; UserError for one that is none of the web's.
    """
    partial = folder / f".{row.file}.partial"
    reasons = []
    for url in row.urls:
        if urlsplit(url).scheme not in ("http", "https"):
            raise UserError(f"{row.dataset}/{row.file}: URL {url!r} is neither http nor https")
        try:
            _download_from(url, row, partial, attempts, backoff)
        except Unusable as error:
            log.warning("%s/%s: %s: %s", row.dataset, row.file, url, error)
            reasons.append(f"{url}: {error}")
            continue
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, folder / row.file)
        return folder / row.file
    raise Undelivered("; ".join(reasons))


def _download_from(url: str, row: SourceFile, partial: Path, attempts: int, backoff: float) -> None:
    """Complete and verify ``partial`` from one URL, or raise :class:`Unusable`."""
    failures, fresh = 0, _size(partial) == 0
    while True:
        before = _size(partial)
        try:
            if before < row.bytes:
                _receive(url, row, partial)
            wrong = mismatch(partial, row)
            if wrong is None:
                return
            partial.unlink()
            if fresh:
                raise Unusable(wrong)
            # The resumed beginning may have come from elsewhere: once more, from zero.
            log.warning("%s/%s: %s after resuming; starting again", row.dataset, row.file, wrong)
            fresh = True
        except _Interrupted as error:
            failures = 1 if _size(partial) > before else failures + 1
            if failures >= attempts:
                raise Unusable(f"{error} ({failures} tries without progress)") from None
            pause = min(60.0, max(backoff * 2 ** (failures - 1), error.retry_after))
            log.info("%s: %s; trying again in %.0f s", url, error, pause)
            _sleep(pause)


_sleep: Callable[[float], None] = time.sleep


class _Interrupted(Exception):
    """A failure that may pass: the same URL is worth another try."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _receive(url: str, row: SourceFile, partial: Path) -> None:
    """One request: append to ``partial`` (206) or write it anew (200)."""
    start = _size(partial)
    # identity: a server that compresses on the way would make sizes, ranges and checksums those of another file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "mcvae"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            _check_status(response, start)
            if response.status_code == 200:
                start = 0
            length = response.headers.get("Content-Length", "")
            if length.isdigit() and start + int(length) != row.bytes:
                raise Unusable(f"expected {row.bytes:,} bytes, the server offers {start + int(length):,}")
            _write_body(response, row, partial, start)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _Interrupted(f"the connection failed ({type(error).__name__})") from None
    except requests.RequestException as error:
        raise Unusable(str(error)) from None
    if (got := _size(partial)) < row.bytes:
        raise _Interrupted(f"the body ended after {got:,} of {row.bytes:,} bytes")


def _check_status(response: requests.Response, start: int) -> None:
    status = response.status_code
    if status in RETRIED:
        delay = response.headers.get("Retry-After", "")
        raise _Interrupted(f"HTTP {status}", float(delay) if delay.isdigit() else 0.0)
    if status not in (200, 206):
        raise Unusable(f"HTTP {status}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise Unusable("an HTML page instead of the file")
    if status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise Unusable(f"the server answered another range: {response.headers.get('Content-Range')!r}")


def _write_body(response: requests.Response, row: SourceFile, partial: Path, start: int) -> None:
    partial.parent.mkdir(parents=True, exist_ok=True)
    bar = tqdm(total=row.bytes, initial=start, unit="B", unit_scale=True, desc=row.file, disable=None, leave=False)
    with open(partial, "ab" if start else "wb") as file, bar:
        written = start
        for block in response.iter_content(BLOCK):
            written += len(block)
            if written > row.bytes:
                file.truncate(0)
                raise Unusable(f"more than the expected {row.bytes:,} bytes")
            file.write(block)
            bar.update(len(block))
