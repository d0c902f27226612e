"""Exports of the real architectures, kept from one run to the next."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from benchmarks.images import image_files
from bundle.errors import BundleError
from bundle.parameter_file import check_whole

from .commands import run
from .deployment import EXAMPLES, ROOT, Deployment, Form
from .errors import DeploymentError

TOOL = EXAMPLES / "with_paddleclas.py"
# Which environment of `make paddleclas-env` writes which form.
ENVIRONMENTS = {"pir": "build/paddleclas-env", "pdmodel": "build/paddleclas-2.6-env"}
GRAPH_SUFFIXES = {"pir": ".json", "pdmodel": ".pdmodel"}
SEED = 7


@dataclass(frozen=True)
class Exporter:
    """Makes exports, images and direct scores under `work`, or uses those that are there.

    Every product lies in a folder named by a hash of all that it was made from, so that a changed
    script or specification makes it anew.
    """

    work: Path
    shared: Path
    most_images: int = 24
    environments: dict[str, str] = field(default_factory=lambda: dict(ENVIRONMENTS))

    def images(self, deployment: Deployment) -> list[Path]:
        """Return copies, in one folder, of the images to try.

        They are third-party samples, or our own where there are none.
        """
        folder = self.shared / deployment.images
        source = folder if folder.is_dir() else EXAMPLES / "images"
        found = image_files(source, self.most_images)
        target = self.work / "images" / f"{deployment.name}-{len(found)}"
        target.mkdir(parents=True, exist_ok=True)
        copies = []
        for path in found:
            copy = target / f"{path.parent.name}_{path.name}"
            if deployment.images_as is None:
                shutil.copy(path, copy)
            else:
                copy = copy.with_suffix(deployment.images_as)
                _save_grey(path, copy)
            copies.append(copy)
        return copies

    def export(self, deployment: Deployment, form: Form) -> Path:
        """Return the folder with the export of `deployment` in `form`.

        Raises:
            DeploymentError: the environment is missing, or the export failed.
        """
        if form.name == "onnx":
            return self._onnx(deployment)
        return self._paddle(deployment, form)

    def direct_scores(
        self, deployment: Deployment, form: Form, images: Sequence[Path]
    ) -> dict[str, list[float]]:
        """Return each image's scores by PaddleClas' own code and the bare Paddle predictor.

        An ONNX model is compared with the Paddle model that it was made from.
        """
        form = deployment.forms[0] if form.name == "onnx" else form
        export = self.export(deployment, form)
        operators = json.dumps(deployment.transform_ops)
        made_from = (export.name, operators, *_contents(images))
        folder = self._folder(deployment, f"scores-{form.name}", *made_from)
        file = folder / "scores.json"
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "operators.json").write_text(operators, encoding="utf-8")
            graph = export / f"{form.stem}{GRAPH_SUFFIXES[form.name]}"
            options: list[str | Path] = [
                "--operators",
                folder / "operators.json",
                "--output",
                file,
            ]
            parameters = export / f"{form.stem}.pdiparams"
            self._tool(form.name, deployment, "score", graph, parameters, *images, *options)
        scores: dict[str, list[float]] = json.loads(file.read_text(encoding="utf-8"))
        # By the content of the images, not by their path when the scores were saved.
        return dict(zip(map(str, images), scores.values(), strict=True))

    def discard(self, deployment: Deployment) -> None:
        """Remove the deployment's weights, exports, scores and bundles; its log is kept."""
        shutil.rmtree(self.work / deployment.name, ignore_errors=True)
        for bundle in (self.work / "bundles").glob(f"{deployment.name}-*"):
            shutil.rmtree(bundle)

    def _paddle(self, deployment: Deployment, form: Form) -> Path:
        weights = self._weights(deployment)
        beside = [(deployment.folder / name).read_text(encoding="utf-8") for name in form.beside]
        made_from = (weights.parent.name, form.stem, *beside, *self._tool_versions(form.name))
        folder = self._folder(deployment, form.name, *made_from)
        if not folder.is_dir():
            part = folder.with_name(f"{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            options: list[str | Path] = [
                "--weights",
                weights,
                "--stem",
                form.stem,
                "--output",
                part,
            ]
            self._tool(form.name, deployment, "export", *_network(deployment), *options)
            _check_whole(part / f"{form.stem}.pdiparams")
            for name in form.beside:
                shutil.copy(deployment.folder / name, part)
            part.rename(folder)
        return folder

    def _onnx(self, deployment: Deployment) -> Path:
        source = deployment.forms[0]
        export = self.export(deployment, source)
        folder = self._folder(deployment, "onnx", export.name)
        if not folder.is_dir():
            bundle = folder.with_name(f"{folder.name}.bundle")
            log = self.work / "logs" / f"{deployment.name}.log"
            converter = [sys.executable, "-m", "converter"]
            convert: list[str | Path] = [
                "convert",
                export,
                *source.convert,
                "--output",
                bundle,
                "--force",
            ]
            run([*converter, *convert], log=log)
            run([*converter, "export", bundle, "--to", "onnx", "--output", folder], log=log)
            shutil.rmtree(bundle)
        return folder

    def _weights(self, deployment: Deployment) -> Path:
        """Random weights; the same in all forms, so that these can be compared with each other."""
        network = _network(deployment)
        folder = self._folder(deployment, "weights", *network, *self._tool_versions("pir"))
        weights = folder / "random.pdparams"
        if not weights.is_file():
            options: list[str | Path] = [
                "--pictures",
                EXAMPLES / "images",
                "--output",
                weights,
                "--seed",
                str(SEED),
            ]
            self._tool("pir", deployment, "random", *network, *options)
        return weights

    def _tool(self, form: str, deployment: Deployment, *arguments: str | Path) -> None:
        log = self.work / "logs" / f"{deployment.name}.log"
        run([self._python(form), TOOL, *arguments], log=log)

    def _python(self, form: str) -> Path:
        python = ROOT / self.environments[form] / "bin" / "python"
        if not python.is_file():
            raise DeploymentError(
                f"there is no {python.relative_to(ROOT)}; run `make paddleclas-env` first"
            )
        return python

    def _tool_versions(self, form: str) -> tuple[str, str]:
        return TOOL.read_text(encoding="utf-8"), str(self._python(form))

    def _folder(self, deployment: Deployment, kind: str, *made_from: str) -> Path:
        digest = hashlib.sha256("\0".join(made_from).encode()).hexdigest()[:12]
        return self.work / deployment.name / f"{kind}-{digest}"


def _check_whole(parameters: Path) -> None:
    """Check what was exported: Paddle reports no error when the disk is full.

    Raises:
        DeploymentError: it is cut off.
    """
    try:
        check_whole(parameters)
    except BundleError as error:
        free = shutil.disk_usage(parameters.parent).free / 2**20
        raise DeploymentError(f"{error} ({free:.0f} MiB of disk are free)") from error


def _contents(images: Sequence[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in images]


def _save_grey(path: Path, target: Path) -> None:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None or not cv2.imwrite(str(target), image):
        raise DeploymentError(f"cannot save {path} as {target}")


def _network(deployment: Deployment) -> list[str]:
    sizes = ["--classes", str(deployment.classes), "--size", str(deployment.size)]
    return [deployment.architecture, *sizes]
