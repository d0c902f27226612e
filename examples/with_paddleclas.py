r"""Networks of PaddleClas: export them, or score images with PaddleClas' own code.

    make paddleclas-env
    build/paddleclas-env/bin/python examples/with_paddleclas.py export PPLCNetV2_base \
        --classes 4 --weights output/PPLCNetV2_base/best_model.pdparams --output exports/peach4

`export` builds the network from PaddleClas' own package, puts softmax at its end as PaddleClas'
exporter does, and saves it: inference.json under Paddle 3 (`build/paddleclas-env`),
inference.pdmodel under 2.6 (`build/paddleclas-2.6-env`). It needs no clone of PaddleClas.

`random` makes weights where there are none, and `score` gives the scores of images without any
code of this project: `make deployments` tries all that comes after training with the two.

Runs on Python 3.9 and newer with PaddleClas, and imports nothing of this project.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import logging
import sys
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

warnings.simplefilter("ignore")  # paddle warns of compilers that nothing here needs
import paddle  # noqa: E402

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
# Deviation of a random network's logits over its images; enough for answers to differ.
LOGIT_STD = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def export(options: argparse.Namespace) -> None:
    """Write the graph and inference.pdiparams into the output folder."""
    network = build(options.architecture, options.classes)
    load(network, options.weights)
    network.eval()
    for layer in network.sublayers():
        # As PaddleClas' exporter: branches that are for training only become one convolution.
        if hasattr(layer, "re_parameterize") and not getattr(layer, "is_repped", False):
            layer.re_parameterize()
    scored = paddle.nn.Sequential(network, paddle.nn.Softmax(axis=-1))
    scored.eval()
    spec = [paddle.static.InputSpec([None, 3, options.size, options.size], "float32", name="x")]
    options.output.mkdir(parents=True, exist_ok=True)
    graph = paddle.jit.to_static(scored, input_spec=spec, full_graph=True)
    paddle.jit.save(graph, str(options.output / options.stem))
    written = ", ".join(sorted(path.name for path in options.output.glob(f"{options.stem}.*")))
    print(f"wrote {options.output}: {written} (Paddle {paddle.__version__})")


def random(options: argparse.Namespace) -> None:
    """Write weights from a seed, shaped so that different images get different answers.

    With random weights alone every image would get nearly the same scores, and comparing such
    scores would find nothing. So the batch norms learn the statistics of the images, ConvNeXt's
    layer scales (1e-6 where training begins) are opened, and the last layer is stretched until
    logits spread.
    """
    paddle.seed(options.seed)
    network = build(options.architecture, options.classes)
    images = paddle.to_tensor(read(options.pictures, options.size))
    generator = np.random.default_rng(options.seed)
    for name, parameter in network.named_parameters():
        if name.endswith("gamma"):
            parameter.set_value(generator.uniform(0.2, 1, parameter.shape).astype(np.float32))
    for layer in network.sublayers():
        if isinstance(layer, (paddle.nn.BatchNorm, paddle.nn.BatchNorm2D)):
            layer._momentum = 0.0  # the statistics of this one batch, not a running mean
    with paddle.no_grad():
        network.train()
        network(images)
        network.eval()
        last = [layer for layer in network.sublayers() if isinstance(layer, paddle.nn.Linear)][-1]
        logits = network(images).numpy()
        stretch = LOGIT_STD / float(logits.std(axis=0).mean())
        last.weight.set_value(last.weight.numpy() * stretch)
        if last.bias is not None:
            last.bias.set_value((last.bias.numpy() - logits.mean(axis=0)) * stretch)
        answers = network(images).numpy().argmax(axis=1).tolist()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    paddle.save(network.state_dict(), str(options.output))
    print(
        f"wrote {options.output}: seed {options.seed}, "
        f"{len(set(answers))} best classes for {len(answers)} images"
    )


def score(options: argparse.Namespace) -> None:
    """Write {image: scores of its classes} as JSON.

    Images are prepared by PaddleClas' operators; the graph runs as it is, without oneDNN and
    without being rewritten: slow, and nothing in between can be wrong.
    """
    described = json.loads(options.operators.read_text(encoding="utf-8"))
    operators = _paddleclas("deploy.python.preprocess").create_operators(described)
    config = paddle.inference.Config(str(options.graph), str(options.parameters))
    config.disable_glog_info()
    config.switch_ir_optim(False)
    if hasattr(config, "disable_mkldnn"):
        config.disable_mkldnn()
    predictor = paddle.inference.create_predictor(config)
    feed = predictor.get_input_handle(predictor.get_input_names()[0])
    fetch = predictor.get_output_handle(predictor.get_output_names()[0])
    scores = {}
    for path in options.images:
        array = _image(path)
        for operator in operators:
            array = operator(array)
        feed.copy_from_cpu(np.ascontiguousarray(array[np.newaxis], np.float32))
        predictor.run()
        scores[str(path)] = fetch.copy_to_cpu()[0].tolist()
    options.output.write_text(json.dumps(scores), encoding="utf-8")
    print(f"wrote {options.output}: {len(scores)} images (Paddle {paddle.__version__})")


def build(architecture: str, classes: int) -> Any:  # noqa: ANN401 - a paddle.nn.Layer
    """Return PaddleClas' network of that name.

    Raises:
        ValueError: PaddleClas is not installed here, or has no such network.
    """
    backbone = _paddleclas("ppcls.arch.backbone")
    # Some networks log while they are built, and need the logger to be there.
    _paddleclas("ppcls.utils.logger").init_logger(log_level=logging.ERROR)
    network = getattr(backbone, architecture, None)
    if network is None:
        raise ValueError(f"PaddleClas has no {architecture}; its names are in ppcls/arch/backbone")
    return network(class_num=classes)


def load(network: Any, weights: Path) -> None:  # noqa: ANN401 - a paddle.nn.Layer
    """Set the network's weights.

    Raises:
        ValueError: there is no such file, or its tensors are not those of the network.
    """
    if not weights.is_file():
        raise ValueError(f"there are no weights at {weights}; give a trained .pdparams")
    state, own = paddle.load(str(weights)), network.state_dict()
    strange = sorted(set(state) ^ set(own))
    if strange:
        raise ValueError(f"{weights} is of another architecture: only one of both has {strange[0]}")
    for name, value in own.items():
        if list(state[name].shape) != list(value.shape):
            raise ValueError(
                f"{weights}: {name} is {list(state[name].shape)} there and {list(value.shape)} "
                "here; was it trained on another number of --classes?"
            )
    network.set_state_dict(state)


def read(folder: Path, size: int) -> np.ndarray:
    """Return up to 16 images of `folder` and its sub-folders, float32 [N, 3, size, size].

    Raises:
        ValueError: there are none, or one cannot be read.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"there are no images in {folder}")
    spread = files[:: max(1, len(files) // 16)][:16]
    scaled = [cv2.resize(_image(path), (size, size)) for path in spread]
    batch = np.stack(scaled).astype(np.float32) / 255
    return np.ascontiguousarray(((batch - MEAN) / STD).transpose(0, 3, 1, 2))


def _image(path: Path) -> np.ndarray:
    """Return uint8 [H, W, 3] RGB, read as PaddleClas' deploy/python/predict_cls.py does."""
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f"{path} cannot be read as an image")
    return image[:, :, ::-1]


def _paddleclas(name: str) -> Any:  # noqa: ANN401 - a module
    """Return a module of PaddleClas.

    Its own __init__ imports faiss and visualdl, which nothing here needs; so the package is put
    in place without being run.
    """
    found = importlib.util.find_spec("paddleclas")
    if found is None or not found.submodule_search_locations:
        raise ValueError("PaddleClas is not installed for this Python; run: make paddleclas-env")
    if "paddleclas" not in sys.modules:
        package = types.ModuleType("paddleclas")
        package.__path__ = list(found.submodule_search_locations)
        package.__spec__ = found
        sys.modules["paddleclas"] = package
    return importlib.import_module(f"paddleclas.{name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    network = argparse.ArgumentParser(add_help=False)
    network.add_argument("architecture", help="PaddleClas' name, for example PPLCNetV2_base")
    network.add_argument("--classes", type=int, required=True, help="number of classes")
    network.add_argument("--size", type=int, default=224, help="side of the input (default 224)")
    network.add_argument("--output", type=Path, required=True)

    out = commands.add_parser("export", parents=[network], help="write the inference model")
    out.add_argument("--weights", type=Path, required=True, help="trained .pdparams")
    out.add_argument("--stem", default="inference", help="file name (default inference)")
    out.set_defaults(run=export)

    seeded = commands.add_parser("random", parents=[network], help="make weights from a seed")
    seeded.add_argument("--pictures", type=Path, required=True, help="folder of any images")
    seeded.add_argument("--seed", type=int, default=7)
    seeded.set_defaults(run=random)

    direct = commands.add_parser("score", help="score images without this project's code")
    direct.add_argument("graph", type=Path)
    direct.add_argument("parameters", type=Path)
    direct.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    direct.add_argument("--operators", type=Path, required=True, help="JSON list of transform_ops")
    direct.add_argument("--output", type=Path, required=True)
    direct.set_defaults(run=score)
    return parser


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)  # in place of this folder
    from protocol.console import as_command

    sys.exit(as_command(main))
