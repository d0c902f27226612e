"""What predicts in Paddle, without the rest of it.

`import paddle` makes layers, optimizers, data loaders and the operators' Python side: two seconds
and 110 MB in every worker, at every start. What predicts is one compiled module in that package,
`paddle/base/libpaddle.so`, which Python loads by itself in a fifth of the time. It is no public
interface: where it is not as it was in Paddle 3.1 to 3.3, and for GPUs, whose libraries the package
finds, the whole package is imported.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = "paddle.base.libpaddle"


@dataclass(frozen=True, slots=True)
class PaddleLibrary:
    """The same classes from either place.

    Attributes:
        config: `paddle.inference.Config`.
        create_predictor: `paddle.inference.create_predictor`.
        version: such as 3.3.1.
    """

    config: Any
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
        # Paddle asks for ccache at every start, for C++ extensions that nobody builds here.
        warnings.simplefilter("ignore")
        from paddle import inference
    version = _version(inference.get_version())
    return PaddleLibrary(inference.Config, inference.create_predictor, version)


class _UnknownLibraryError(Exception):
    """This Paddle's library is not one that is known to run alone."""


def _library_alone() -> PaddleLibrary:
    package = importlib.util.find_spec("paddle")  # which imports nothing
    if package is None or package.origin is None:
        raise ImportError("No module named 'paddle'", name="paddle")
    file = Path(package.origin).with_name("base") / "libpaddle.so"
    if not file.is_file():
        raise _UnknownLibraryError(file)
    # Paddle sets it when it is imported: OpenMP takes every core otherwise.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    library = _load(file)
    try:
        if library.is_compiled_with_cuda():
            raise _UnknownLibraryError("its build for GPUs")
        _begin(library)
        config, create_predictor = library.AnalysisConfig, library.create_predictor
        version = _version(library.get_version())
    except (AttributeError, KeyError, TypeError) as error:
        raise _UnknownLibraryError(error) from error
    return PaddleLibrary(config, create_predictor, version)


def _load(file: Path) -> Any:  # noqa: ANN401
    """Return the compiled module, under the name by which all of Paddle would find it loaded."""
    loader = importlib.machinery.ExtensionFileLoader(_NAME, str(file))
    spec = importlib.util.spec_from_file_location(_NAME, file, loader=loader)
    if spec is None:
        raise _UnknownLibraryError(file)
    library = importlib.util.module_from_spec(spec)
    loader.exec_module(library)
    sys.modules[_NAME] = library
    return library


def _begin(library: Any) -> None:  # noqa: ANN401
    """Begin as `paddle/base/__init__.py` does (`__bootstrap__`), as far as predicting goes.

    Each of Paddle's flags has the value then that it has in all of Paddle.
    """
    flags = [name for name in library.globals().keys() if name.startswith("FLAGS_")]  # noqa: SIM118
    from_environment = ",".join(name.removeprefix("FLAGS_") for name in flags)
    library.init_gflags([f"--tryfromenv={from_environment}"])
    library.init_glog(sys.argv[0])
    library.init_memory_method()
    library.init_devices()
    library.globals()["FLAGS_enable_pir_in_executor"] = True  # paddle/pir_utils.py


def _version(told: str) -> str:
    """Return the number in `version: 3.3.1`, a line of what Paddle tells of itself."""
    found = re.search(r"^version: (\S+)", told, re.MULTILINE)
    return found[1] if found else "of an unknown version"
