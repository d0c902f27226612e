"""What predicts in Paddle, without the rest of it.

`import paddle` makes layers, optimizers, data loaders and the operators' Python side: half of the
computing and 70 MB of a worker's start. What predicts is one compiled module in that package,
`paddle/base/libpaddle.so`, which Python loads by itself. It is no public interface: it is used
alone in the CPU builds of Paddle 3.1 to 3.3, where tests compare it with all of Paddle. Any other
build is imported whole.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import sys
import types
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any

_NAME = "paddle.base.libpaddle"
_OLDEST, _TOO_NEW = (3, 1), (3, 4)


@dataclass(frozen=True, slots=True)
class PaddleLibrary:
    """The same classes from either place.

    Attributes:
        config_class: `paddle.inference.Config`.
        create_predictor: `paddle.inference.create_predictor`.
        version: such as 3.3.1.
    """

    config_class: Any
    create_predictor: Any
    version: str


def load_paddle(device: str) -> PaddleLibrary:
    """Return what predicts on that device.

    Raises:
        ImportError: there is no Paddle here, or it cannot be loaded.
    """
    if device == "cpu" and "paddle" not in sys.modules:
        with contextlib.suppress(_UnknownLibraryError):
            return _library_alone()
    with warnings.catch_warnings():
        # Paddle asks for ccache at every start, for C++ extensions that are not built here.
        warnings.simplefilter("ignore")
        from paddle import inference
    version = _version(inference.get_version())
    return PaddleLibrary(inference.Config, inference.create_predictor, version)


def runs_alone(package: Path) -> bool:
    """Whether the library of the package in that folder is known to run alone."""
    file = package / "version" / "__init__.py"
    if not file.is_file() or not _file(package).is_file():
        return False
    stated = types.ModuleType("paddle_version")
    SourceFileLoader(stated.__name__, str(file)).exec_module(stated)  # it imports nothing of Paddle
    try:
        version = int(stated.major), int(stated.minor)
        for_gpus = stated.cuda_version != "False"
    except (AttributeError, ValueError):
        return False
    return _OLDEST <= version < _TOO_NEW and not for_gpus


class _UnknownLibraryError(Exception):
    """This Paddle's library is not one that is known to run alone."""


@functools.cache
def _library_alone() -> PaddleLibrary:
    found = importlib.util.find_spec("paddle")  # which imports nothing
    if found is None or found.origin is None:
        raise ImportError("No module named 'paddle'", name="paddle")
    package = Path(found.origin).parent
    if not runs_alone(package):
        raise _UnknownLibraryError(package)
    # Paddle sets it when it is imported: OpenMP takes every core otherwise.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    library = _load(_file(package))
    try:
        _begin(library)
        config_class, create_predictor = library.AnalysisConfig, library.create_predictor
        version = _version(library.get_version())
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise _UnknownLibraryError(error) from error
    return PaddleLibrary(config_class, create_predictor, version)


def _file(package: Path) -> Path:
    return package / "base" / "libpaddle.so"


def _load(file: Path) -> Any:  # noqa: ANN401
    """Load the compiled module; all of Paddle, should it be imported later, finds it."""
    loader = ExtensionFileLoader(_NAME, str(file))
    library = importlib.util.module_from_spec(ModuleSpec(_NAME, loader, origin=str(file)))
    loader.exec_module(library)
    sys.modules.pop(_NAME, None)
    sys.meta_path.insert(0, _LoadedBefore(library))
    return library


class _LoadedBefore(MetaPathFinder, Loader):
    """Gives the library to `import paddle`, which makes it a part of the package that way."""

    def __init__(self, library: types.ModuleType) -> None:
        self._library = library

    def find_spec(
        self,
        fullname: str,
        _path: Sequence[str] | None,
        _target: types.ModuleType | None = None,
    ) -> ModuleSpec | None:
        return ModuleSpec(_NAME, self) if fullname == _NAME else None

    def create_module(self, _spec: ModuleSpec) -> types.ModuleType:
        return self._library

    def exec_module(self, module: types.ModuleType) -> None:
        """It has been executed."""


def _begin(library: Any) -> None:  # noqa: ANN401
    """Begin as `paddle/base/__init__.py` does (`__bootstrap__`), as far as predicting goes.

    Each of Paddle's flags has the value then that it has in all of Paddle.
    """
    flags = library.globals()
    names = [name for name in flags.keys() if name.startswith("FLAGS_")]  # noqa: SIM118
    from_environment = ",".join(name.removeprefix("FLAGS_") for name in names)
    library.init_gflags([f"--tryfromenv={from_environment}"])
    library.init_glog(sys.argv[0])
    library.init_memory_method()
    library.init_devices()
    if flags["FLAGS_enable_pir_api"]:
        flags["FLAGS_enable_pir_in_executor"] = True  # paddle/pir_utils.py


def _version(text: str) -> str:
    """Return the number in `version: 3.3.1`, a line of what Paddle says of itself."""
    found = re.search(r"^version: (\S+)", text, re.MULTILINE)
    return found[1] if found else "of an unknown version"
