"""Preprocessing code of other projects: where it is published, and how a part of it is run.

A wheel holds the code of PaddleOCR and Ultralytics. That of PaddleClas' training and of
PaddleDetection's deployment is in no wheel: `make paddleclas-source paddledetection-source` fetches
it, or PADDLECLAS_SOURCE and PADDLEDETECTION_SOURCE name checkouts.
"""

from __future__ import annotations

import ast
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Origin:
    """Names of one file of another project.

    Attributes:
        file: its path in the wheel, or in the checkout.
        names: the functions and classes that are run.
        package: the wheel's package and version; none: it is in a checkout.
        checkout: the name of the checkout, as the Makefile has it.
    """

    file: str
    names: tuple[str, ...]
    package: tuple[str, str] | None = None
    checkout: str = ""

    def path(self, published: Callable[..., Path]) -> Path:
        """The file on this machine; the test is skipped without it."""
        if self.package is not None:
            return published(*self.package, self.file)
        variable = f"{self.checkout.upper()}_SOURCE"
        folder = Path(os.environ.get(variable, ROOT / "build" / f"{self.checkout}-source"))
        if not (folder / self.file).is_file():
            pytest.skip(
                f"no {folder / self.file}: run `make {self.checkout}-source`, or name a checkout in"
                f" {variable}"
            )
        return folder / self.file


PADDLEOCR = Origin(
    "paddleocr/ppocr/data/imaug/rec_img_aug.py", ("resize_norm_img",), ("paddleocr", "2.10.0")
)
ULTRALYTICS = Origin(
    "ultralytics/data/augment.py",
    ("BaseTransform", "LetterBox", "ClassifyLetterBox", "CenterCrop"),
    ("ultralytics", "8.4.190"),
)
PADDLECLAS = Origin(
    "ppcls/data/preprocess/ops/operators.py",
    ("CropImageAtRatio", "Padv2", "Pad"),
    checkout="paddleclas",
)
PADDLEDETECTION = Origin(
    "deploy/python/preprocess.py",
    ("Resize", "NormalizeImage", "Permute", "PadStride", "LetterBoxResize", "Pad"),
    checkout="paddledetection",
)


def load(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """The named functions and classes of a file, without what the rest of it imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kept = [node for node in tree.body if getattr(node, "name", None) in names]
    body = ast.Module([ast.ImportFrom("__future__", [ast.alias("annotations")], 0), *kept], [])
    scope: dict[str, Any] = {"cv2": cv2, "np": np, "math": math, "F": _PaddleVision, "Any": Any}
    scope["Image"] = pytest.importorskip("PIL.Image")
    exec(compile(ast.fix_missing_locations(body), str(path), "exec"), scope)  # noqa: S102 - the point
    return scope


class _PaddleVision:
    """paddle.vision.transforms.functional, as far as arrays are resized: OpenCV does it."""

    @staticmethod
    def resize(image: np.ndarray, size: list[int], interpolation: str) -> np.ndarray:
        flags = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
        return np.asarray(cv2.resize(image, (size[1], size[0]), interpolation=flags[interpolation]))
