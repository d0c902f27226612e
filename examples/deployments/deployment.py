"""A deployment, read from `examples/<name>/deployment.yml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .errors import DeploymentError

EXAMPLES = Path(__file__).resolve().parent.parent
ROOT = EXAMPLES.parent


@dataclass(frozen=True)
class Form:
    """One form of export: `pir` (Paddle 3), `pdmodel` (Paddle 2.6) or `onnx`.

    `stem` names its files, `beside` are files of the example's folder that its framework puts
    beside them, `convert` the options that the converter needs besides.
    """

    name: str
    stem: str = "inference"
    beside: tuple[str, ...] = ()
    convert: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deployment:
    """A network of PaddleClas, the images it is tried on, and the forms it is exported in.

    `transform_ops` is the preprocessing of the tutorial as a list of PaddleClas' operators;
    `images` a folder among the third-party samples; `images_as` a suffix to save them with.
    """

    name: str
    architecture: str
    classes: int
    images: str
    transform_ops: tuple[dict[str, Any], ...]
    forms: tuple[Form, ...]
    size: int = 224
    images_as: str | None = None

    @property
    def folder(self) -> Path:
        """The example's folder."""
        return EXAMPLES / self.name

    @property
    def config(self) -> Path:
        """The configuration that it is served with."""
        return ROOT / "configs" / f"{self.name}.yml"

    @property
    def labels(self) -> Path:
        """Its label file."""
        return ROOT / "labels" / f"{self.name}.txt"


def read_deployment(name: str) -> Deployment:
    """Read `examples/<name>/deployment.yml`.

    Raises:
        DeploymentError: there is no such deployment, or the file says something unknown.
    """
    path = EXAMPLES / name / "deployment.yml"
    if not path.is_file():
        raise DeploymentError(f"there is no deployment {name}; there are {', '.join(names())}")
    fields = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        forms = tuple(_form(form, settings or {}) for form, settings in fields.pop("forms").items())
        operators = tuple(fields.pop("transform_ops"))
        return Deployment(name, transform_ops=operators, forms=forms, **fields)
    except (KeyError, TypeError) as error:
        raise DeploymentError(f"{path}: {error}") from error


def _form(name: str, settings: dict[str, Any]) -> Form:
    beside, convert = (tuple(settings.pop(key, ())) for key in ("beside", "convert"))
    return Form(name, beside=beside, convert=convert, **settings)


def names() -> list[str]:
    """Return the names of all deployments."""
    return sorted(path.parent.name for path in EXAMPLES.glob("*/deployment.yml"))
