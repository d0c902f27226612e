"""Tries one export: convert, verify, serve, classify over both wires, compare the scores."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.service import run_service
from client.classify_client import ClassifyClient
from client.http_client import HttpClient
from client.rpc_client import RpcClient

from .commands import run
from .deployment import Deployment, Form
from .errors import DeploymentError

# Of scores in 0..1. oneDNN and ONNX Runtime add in another order than the bare predictor, and a
# random network makes more of that (1e-4) than a trained one (1e-6). Another interpolation, mean or
# order of channels would differ by 1e-2 and more.
TOLERANCE = 1e-3
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Trial:
    """The result of a trial; differences are between scores in 0..1."""

    bundle: Path
    images: int
    http_difference: float
    rpc_difference: float


def make_bundle(
    deployment: Deployment, form: Form, export: Path, images: Sequence[Path], work: Path
) -> Path:
    """Convert an export with the options of its form, and nothing edited; verify the bundle.

    `images` lie in one folder.

    Raises:
        DeploymentError: the converter refused, or the bundle has other scores than its export.
    """
    bundle = work / "bundles" / f"{deployment.name}-{form.name}"
    log = work / "logs" / f"{deployment.name}.log"
    converter = [sys.executable, "-m", "converter"]
    run([*converter, "convert", export, *form.convert, "--output", bundle, "--force"], log=log)
    verify = [*converter, "verify", str(bundle), "--export", str(export)]
    compared = ["--images", str(images[0].parent), "--tolerance", str(TOLERANCE)]
    run([*verify, *compared], log=log)
    return bundle


def try_service(
    deployment: Deployment,
    bundle: Path,
    images: Sequence[Path],
    expected: Mapping[str, Sequence[float]],
    work: Path,
) -> Trial:
    """Serve `bundle` with the deployment's own configuration; compare both wires with `expected`.

    It is evaluated too, through the service and directly, with the best classes of direct inference
    as the truth: every image must be right.

    Raises:
        DeploymentError: a result is missing, has another label or score, or is counted as wrong.
    """
    labels = deployment.labels.read_text(encoding="utf-8").split("\n")[: deployment.classes]
    # Every class of every image is compared, so no score may be left out as too small. Time does
    # not matter here: a busy machine may take longer than the configuration allows.
    name = deployment.name
    patience = f"op.{name}.timeout={TIMEOUT_S * 1000:.0f}"
    overrides = (*serving(deployment, bundle), f"op.{name}.threshold=0", patience)
    with run_service(deployment.config, overrides) as running:
        with HttpClient(running.url, service=name, timeout_s=TIMEOUT_S) as client:
            http = _difference(client, images, expected, labels)
        with RpcClient(running.endpoint, service=name, timeout_s=TIMEOUT_S) as client:
            rpc = _difference(client, images, expected, labels)
        truth = work / "truth" / f"{bundle.name}.txt"
        write_truth(truth, images, expected)
        service = ["--url", running.url, "--service", name, "--timeout", str(TIMEOUT_S)]
        evaluate(deployment, truth, service, work)
    evaluate(deployment, truth, ["--bundle", str(bundle)], work)
    return Trial(bundle, len(images), http, rpc)


def serving(deployment: Deployment, bundle: Path) -> tuple[str, ...]:
    """Return the overrides with which the deployment's configuration serves `bundle`."""
    return (f"op.{deployment.name}.local_service_conf.model_config={bundle}",)


def write_truth(
    truth: Path, images: Sequence[Path], expected: Mapping[str, Sequence[float]]
) -> None:
    """Write a list file with the number of each image's best class."""
    truth.parent.mkdir(parents=True, exist_ok=True)
    best = {path: max(enumerate(expected[str(path)]), key=lambda pair: pair[1]) for path in images}
    lines = [f"{path} {number}\n" for path, (number, _) in best.items()]
    truth.write_text("".join(lines), encoding="utf-8")


def evaluate(deployment: Deployment, truth: Path, model: Sequence[str], work: Path) -> None:
    """Evaluate with the list file `truth`; `model` are the options that name bundle or service.

    Raises:
        DeploymentError: it cannot be evaluated, or the result of an image differs from `truth`.
    """
    report = truth.with_suffix("")
    command = [sys.executable, "-m", "tools.evaluation", str(truth), "--by-number", *model]
    log = work / "logs" / f"{deployment.name}.log"
    run([*command, "--report", str(report)], log=log)
    counted = json.loads((report / "report.json").read_text(encoding="utf-8"))["accuracy_top1"]
    if counted["right"] != counted["of"]:
        raise DeploymentError(
            f"{model[0]} {model[1]}: {counted['right']} of {counted['of']} best classes are those "
            "of direct inference"
        )


def _difference(
    client: ClassifyClient,
    images: Sequence[Path],
    expected: Mapping[str, Sequence[float]],
    labels: Sequence[str],
) -> float:
    """Return the largest difference of one score from `expected`."""
    largest = 0.0
    for image in images:
        right = expected[str(image)]
        answered = client.classify(image, topk=len(right))
        if {c.class_id: c.label for c in answered} != dict(enumerate(labels)):
            raise DeploymentError(f"{image.name}: the labels are not those of the label file")
        largest = max(largest, *(abs(right[c.class_id] - c.score) for c in answered))
        if largest > TOLERANCE:
            raise DeploymentError(
                f"{image.name}: a score differs by {largest:.2g} from direct inference"
            )
    return largest
