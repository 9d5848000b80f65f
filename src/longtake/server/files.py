"""Where films lie: a folder, or anything fsspec can reach, such as s3://bucket/prefix.

Paths inside are made by the server from ids alone; no word of a user ever becomes one. A file is whole or absent: a
folder gets it by temporary name, fsync and rename, an object store by its own atomic put.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec  # type: ignore[import-untyped]
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from longtake.errors import LongtakeError, MissingExtraError, OutputError, RequestError

_PIECE = 256 * 1024
_SAFE = re.compile(r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*(\.[a-z0-9]+)?$")


class AwayError(LongtakeError):
    """The store does not answer; later it may."""


class Storage:
    """One place for files. Raises OutputError when it cannot be written, FileNotFoundError for what is not there,
    AwayError when an object store does not answer."""

    def __init__(self, url: str) -> None:
        try:
            if url.startswith("s3://"):
                from obstore.fsspec import register

                register("s3")
            self._fs, self._root = fsspec.core.url_to_fs(url, **_options(url))
        except ImportError as error:
            raise MissingExtraError(
                f'{url.split(":")[0]} storage needs a package ({error}): pip install "longtake[s3]"'
            ) from None
        except ValueError as error:
            raise RequestError(f"the storage address {url!r} cannot be used: {error}") from None
        self.is_local = isinstance(self._fs, LocalFileSystem)
        if self.is_local:
            Path(self._root).mkdir(parents=True, exist_ok=True)

    def put(self, source: Path, name: str) -> None:
        """Store a file, whole and durable, under `name`."""
        target = self._path(name)
        try:
            if self.is_local:
                _put_locally(source, Path(target))
            else:
                with _answering():
                    self._fs.put_file(str(source), target)
        except OSError as error:
            raise OutputError(
                f"the film cannot be stored: {error.strerror or error}; free some space"
            ) from error

    def copy(self, name: str, to: str) -> None:
        """Store what is under `name` a second time."""
        source, target = self._path(name), self._path(to)
        if not self.is_local:
            with _answering():
                self._fs.cp_file(source, target)
            return
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)  # films are never changed in place
        except FileExistsError:
            return
        except FileNotFoundError:
            raise
        except OSError:
            _put_locally(Path(source), Path(target))

    def get(self, name: str, target: Path) -> None:
        """Bring a file to `target`."""
        with _answering():
            self._fs.get_file(self._path(name), str(target))

    def size(self, name: str) -> int:
        with _answering():
            return int(self._fs.size(self._path(name)))

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Bytes [start, stop) in pieces."""
        with self._fs.open(self._path(name), "rb") as file:
            file.seek(start)
            left = stop - start
            while left > 0:
                piece = file.read(min(_PIECE, left))
                if not piece:
                    raise OSError(f"{name} is shorter than it was")
                left -= len(piece)
                yield piece

    def exists(self, name: str) -> bool:
        with _answering():
            return bool(self._fs.exists(self._path(name)))

    def remove(self, folder: str) -> None:
        """Delete a folder with all that is in it; one that is not there is fine."""
        try:
            with _answering():
                self._fs.rm(self._path(folder), recursive=True)
        except FileNotFoundError:
            return

    def free_bytes(self) -> int | None:
        """Room left on the disk; None where it is not ours to know."""
        return shutil.disk_usage(self._root).free if self.is_local else None

    def _path(self, name: str) -> str:
        assert _SAFE.match(name), name
        return str(PurePosixPath(self._root) / name)


@contextmanager
def _answering() -> Iterator[None]:
    """Object stores fail with classes of their own; what is not an OSError is the store's trouble, not the file's."""
    try:
        yield
    except (OSError, LongtakeError, AssertionError):
        raise
    except Exception as error:
        raise AwayError(f"the store of films does not answer ({type(error).__name__}); try again") from error


def _options(url: str) -> dict[str, object]:
    """How an S3 server other than Amazon's is reached: the usual variables of the environment."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    if not url.startswith("s3://") or not endpoint:
        return {}
    return {
        "config": {"endpoint": endpoint},
        "client_options": {"allow_http": endpoint.startswith("http://")},
    }


def _put_locally(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.partial")
    try:
        shutil.copyfile(source, beside)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, target)
        sync_folder(target.parent)
        sync_folder(target.parent.parent)
    finally:
        beside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make a new name in a folder durable."""
    handle: Any = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
