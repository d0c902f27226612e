"""One export on its whole way: converted, verified, served, asked over both wires, compared."""

from __future__ import annotations

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
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Trial:
    """What came of it; differences are between scores in 0..1."""

    bundle: Path
    pictures: int
    http_difference: float
    rpc_difference: float


def make_bundle(
    deployment: Deployment, form: Form, export: Path, pictures: Sequence[Path], work: Path
) -> Path:
    """Convert an export with the options of its form, and nothing edited; verify the bundle.

    `pictures` lie in one folder.

    Raises:
        DeploymentError: the converter refused, or the bundle answers otherwise than its export.
    """
    bundle = work / "bundles" / f"{deployment.name}-{form.name}"
    log = work / "logs" / f"{deployment.name}.log"
    converter = [sys.executable, "-m", "converter"]
    run([*converter, "convert", export, *form.convert, "--output", bundle, "--force"], log=log)
    verify = [*converter, "verify", str(bundle), "--export", str(export)]
    images = ["--images", str(pictures[0].parent), "--tolerance", str(TOLERANCE)]
    run([*verify, *images], log=log)
    return bundle


def try_service(
    deployment: Deployment,
    bundle: Path,
    pictures: Sequence[Path],
    expected: Mapping[str, Sequence[float]],
) -> Trial:
    """Serve `bundle` with the deployment's own configuration; compare both wires with `expected`.

    Raises:
        DeploymentError: an answer is missing, has another label, or another score.
    """
    labels = deployment.labels.read_text(encoding="utf-8").split("\n")[: deployment.classes]
    # Every class of every picture is compared, so nothing may be left out as too small.
    overrides = (*serving(deployment, bundle), f"op.{deployment.name}.threshold=0")
    name = deployment.name
    with run_service(deployment.config, overrides) as running:
        with HttpClient(running.url, service=name, timeout_s=TIMEOUT_S) as client:
            http = _difference(client, pictures, expected, labels)
        with RpcClient(running.endpoint, service=name, timeout_s=TIMEOUT_S) as client:
            rpc = _difference(client, pictures, expected, labels)
    return Trial(bundle, len(pictures), http, rpc)


def serving(deployment: Deployment, bundle: Path) -> tuple[str, ...]:
    """Return the overrides with which the deployment's configuration serves `bundle`."""
    return (f"op.{deployment.name}.local_service_conf.model_config={bundle}",)


def _difference(
    client: ClassifyClient,
    pictures: Sequence[Path],
    expected: Mapping[str, Sequence[float]],
    labels: Sequence[str],
) -> float:
    """Return the largest difference of one score from `expected`."""
    largest = 0.0
    for picture in pictures:
        right = expected[str(picture)]
        answered = client.classify(picture, topk=len(right))
        if {c.class_id: c.label for c in answered} != dict(enumerate(labels)):
            raise DeploymentError(f"{picture.name}: the labels are not those of the label file")
        largest = max(largest, *(abs(right[c.class_id] - c.score) for c in answered))
        if largest > TOLERANCE:
            raise DeploymentError(
                f"{picture.name}: a score differs by {largest:.2g} from direct inference"
            )
    return largest
