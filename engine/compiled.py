"""How the engine's kernels are compiled, and the cache that keeps them from start to start.

numba's own cache knows a kernel by the file that it is written in, and not by the constants and
kernels that it takes from other files: after a change there it hands out stale machine code. So
all kernels of one state of the sources are kept in one folder, `millrace-DIGEST`, and the digest
covers every source that a kernel is made of. Wherever equal sources are installed, they share the
folder. It lies in `NUMBA_CACHE_DIR`, or else in the user's cache folder. Where neither can be
written, kernels are compiled in memory at each start.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from sys import version_info
from typing import Any

import numba
from numba.core import caching
from platformdirs import user_cache_path

_log = logging.getLogger(__name__)
_config: Any = numba.config
_FunctionCache: Any = caching.FunctionCache
_CacheImpl: Any = caching.CompileResultCacheImpl
_ENGINE = Path(__file__).resolve().parent

_KEPT_FOLDERS = 8
"""Folders of other states of the sources that stay: workers of another version may use them."""
_FOLDER = re.compile(r"millrace-[0-9a-f]{16}")
_WITHOUT_KERNELS = {"training", "datasets", "evaluation", "fields"}


def sources_digest() -> str:
    """16 hexadecimal digits that differ when a source of the kernels, numba or Python differs."""
    digest = hashlib.sha256()
    for package in ("numba", "llvmlite"):
        digest.update(f"{package} {version(package)}\n".encode())
    digest.update(f"python {version_info.major}.{version_info.minor}\n".encode())
    for path in sorted(_ENGINE.rglob("*.py")):
        name = path.relative_to(_ENGINE)
        if name.parts[0] not in _WITHOUT_KERNELS:
            digest.update(f"{name.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _base_folder() -> Path:
    return Path(_config.CACHE_DIR) if _config.CACHE_DIR else user_cache_path("millrace", False)


@cache
def cache_folder() -> Path | None:
    """The folder of these sources' kernels, made and writable; None if there can be none."""
    base = _base_folder()
    folder = base / f"millrace-{sources_digest()}"
    # Without a home folder the path would be relative to wherever the process was started.
    if not folder.is_absolute() and not _config.CACHE_DIR:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # which also makes it the newest
            pass
    except OSError:
        return None
    _remove_old(base, folder)
    return folder


def _remove_old(base: Path, current: Path) -> None:
    """Remove the folders of other states of the sources, but for the latest used."""
    others: list[tuple[float, Path]] = []
    with suppress(OSError):
        for path in base.iterdir():
            if _FOLDER.fullmatch(path.name) and path != current:
                others.append((path.stat().st_mtime, path))
    for _, path in sorted(others)[:-_KEPT_FOLDERS]:
        shutil.rmtree(path, ignore_errors=True)


@cache
def _say_once(level: int, line: str) -> None:
    _log.log(level, "%s", line)


def _say_not_kept() -> None:
    _say_once(
        logging.WARNING,
        f"the compiled kernels cannot be kept in {_base_folder()}: each start compiles them, "
        "which takes one to three minutes; set NUMBA_CACHE_DIR to a folder that can be written",
    )


class _Locator:
    """Where a kernel's files lie in `cache_folder()`, as numba's caches ask it.

    The digest of the folder says all that there is to say of a kernel of the engine, wherever that
    is installed. Of one in another file, as of a script, the file's path and time count, too.
    """

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file = file  # what numba names in a warning
        self._line = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> _Locator:
        return cls(function, file)

    def get_cache_path(self) -> str:
        folder, path = cache_folder(), Path(self._py_file).resolve()
        assert folder is not None
        if path.is_relative_to(_ENGINE):
            return str(folder / path.relative_to(_ENGINE).parent)
        return str(folder / hashlib.sha256(str(path).encode()).hexdigest()[:16])

    def get_source_stamp(self) -> tuple[float, int] | None:
        path = Path(self._py_file).resolve()
        if path.is_relative_to(_ENGINE) or not path.exists():
            return None
        return path.stat().st_mtime, path.stat().st_size

    def get_disambiguator(self) -> str:
        return str(self._line)

    def ensure_cache_path(self) -> None:
        Path(self.get_cache_path()).mkdir(parents=True, exist_ok=True)


class _KernelFiles(_CacheImpl):  # type: ignore[misc]
    _locator_classes = (_Locator,)


class _KernelCache(_FunctionCache):  # type: ignore[misc]
    """A kernel's files; one that cannot be read or written is done without."""

    _impl_class = _KernelFiles

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            found = super().load_overload(sig, target_context)
        except Exception:
            # Whatever damaged bytes raise: an empty index takes the place of the damaged one.
            found = None
            with suppress(OSError):
                self.flush()
        if found is None:
            _say_once(
                logging.INFO,
                "compiling kernels, one to three minutes, once for this version; they are kept in "
                f"{cache_folder()}",
            )
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            _say_not_kept()


class _NoCache(caching.NullCache):
    """Says, when the first kernel is compiled, that none is kept."""

    def load_overload(self, sig: Any, target_context: Any) -> None:
        _say_not_kept()


_FAST_MATH = {"nnan", "ninf", "nsz", "contract", "reassoc"}
"""All but approximate functions and reciprocals, which a vectorised loop takes and another does
not: a kernel that is part of two others would give each other last bits."""
_OPTIONS: dict[str, Any] = {"fastmath": _FAST_MATH, "nogil": True, "error_model": "numpy"}
_compile: Any = numba.njit(**_OPTIONS)
_compile_inlined: Any = numba.njit(**_OPTIONS, inline="always")


def part(function: Callable[..., Any]) -> Any:
    """Compile a function as a part of the one kernel that calls it.

    A kernel is optimised with all that it calls, and so is what calls that: each kernel between the
    outermost and what does the work is one more time to compile the same.
    """
    return _compile_inlined(function)


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function: vectorised, on the calling thread, the interpreter's lock released.

    numpy's error model: the check for division by zero would keep loops from being vectorised.
    """
    dispatcher = _compile(function)
    dispatcher._cache = _KernelCache(function) if cache_folder() else _NoCache()
    return dispatcher
