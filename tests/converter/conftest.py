"""Exports to convert: written byte by byte here, so that most tests need no Paddle."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from converter.reading.program_graph import MESSAGES
from tests.patience import PATIENCE_S

CLASSES = 3
# A classifier of [N, 3, 4, 4] images: flatten, fully connected, softmax.
SHAPES: dict[str, tuple[int, ...]] = {"fc.w_0": (48, CLASSES), "fc.b_0": (CLASSES,)}

INFERENCE_YML = """\
Global:
  model_name: tiny
Hpi:
  backend_configs: {paddle_infer: {x: [1, 3, 4, 4]}}
PreProcess:
  transform_ops:
  - ResizeImage:
      size: [4, 4]
  - NormalizeImage:
      scale: 0.00392156862745098
      mean: [0.5, 0.5, 0.5]
      std: [0.5, 0.5, 0.5]
      order: ''
  - ToCHWImage: null
PostProcess:
  Topk:
    topk: 2
    label_list: ['0', 可回收物/纸板, 'tench, Tinca tinca']
"""


def record(values: np.ndarray, levels: Sequence[bytes] = ()) -> bytes:
    """One float32 tensor as Paddle stores it."""
    desc = MESSAGES["TensorDesc"](data_type=5, dims=values.shape).SerializeToString()
    lod = struct.pack("<Q", len(levels))
    lod += b"".join(struct.pack("<Q", len(level)) + level for level in levels)
    head = struct.pack("<I", 0) + lod + struct.pack("<Ii", 0, len(desc))
    return head + desc + values.astype("<f4").tobytes()


def program(
    shapes: Mapping[str, tuple[int, ...]],
    *,
    height: int = 4,
    last: str = "softmax",
    feed_type: int = 5,
) -> bytes:
    """A ProgramDesc with feed and fetch operators around an fc and, if given, a `last` one."""
    desc = MESSAGES["ProgramDesc"]()
    block = desc.blocks.add(idx=0)
    scores = (-1, *shapes.get("fc.b_0", (CLASSES,)))
    dense = {"x": (-1, 3, height, height), "fc.out": scores, "out": scores, **shapes}
    for name, dims in dense.items():
        var = block.vars.add(name=name, persistable=name in shapes)
        var.type.type = 7
        var.type.lod_tensor.tensor.data_type = feed_type if name == "x" else 5
        var.type.lod_tensor.tensor.dims.extend(dims)
    for name, kind in (("feed", 9), ("fetch", 10)):
        block.vars.add(name=name, persistable=True).type.type = kind

    def add(kind: str, source: str, target: str) -> None:
        op = block.ops.add(type=kind)
        op.inputs.add(parameter="X", arguments=[source])
        op.outputs.add(parameter="Out", arguments=[target])
        op.attrs.add(name="col", i=0)

    add("feed", "feed", "x")
    add("fc", "x", "fc.out" if last else "out")
    if last:
        add(last, "fc.out", "out")
    add("fetch", "out", "fetch")
    content: bytes = desc.SerializeToString()
    return content


def pir(
    shapes: Mapping[str, tuple[int, ...]], *, last: str = "softmax", feed_type: str = "t_f32"
) -> str:
    """The JSON of the same classifier as a PIR program."""

    def value(number: int, dims: Sequence[int], dtype: str = "t_f32") -> dict[str, Any]:
        return {
            "%": number,
            "TT": {"#": "0.t_dtensor", "D": [{"#": f"0.{dtype}"}, list(dims), "NCHW", [], 0]},
        }

    def named(name: str) -> list[dict[str, Any]]:
        return [{"AT": {"#": "0.a_str", "D": name}, "N": "name"}]

    ops: list[dict[str, Any]] = [
        {"#": "p", "A": [0, 1, 1, name], "O": value(number, dims), "OA": [1, 0, 1]}
        for number, (name, dims) in enumerate(shapes.items(), 1)
    ]
    feed = value(10, (-1, 3, 4, 4), feed_type)
    ops.append({"#": "1.data", "A": named("x"), "I": [], "O": [feed], "OA": []})
    ops.append({"#": "1.matmul", "A": [], "I": [{"%": 10}], "O": [value(11, (-1, CLASSES))]})
    ops.append({"#": f"1.{last}", "A": [], "I": [{"%": 11}], "O": [value(12, (-1, CLASSES))]})
    ops.append(
        {"#": "1.fetch", "A": named("fetch_name_0"), "I": [{"%": 12}], "O": [value(13, (-1, 3))]}
    )
    return json.dumps(
        {
            "base_code": {"magic": "pir", "trainable": True, "version": 1},
            "program": {"regions": [{"#": "region_0", "blocks": [{"args": [], "ops": ops}]}]},
        }
    )


def combined(shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    return b"".join(record(np.zeros(shapes[name])) for name in sorted(shapes))


MakeExport = Callable[..., Path]


@pytest.fixture
def make_export(tmp_path: Path) -> MakeExport:
    """Make a folder with an export: layout "pir", "pdmodel", "fluid" or "separate"."""

    def make(
        layout: str = "pdmodel",
        *,
        description: str | None = INFERENCE_YML,
        classes: int = CLASSES,
        **graph: object,
    ) -> Path:
        folder = tmp_path / "export" / layout
        folder.mkdir(parents=True)
        shapes = {name: (*dims[:-1], classes) for name, dims in SHAPES.items()}
        if layout == "pir":
            (folder / "inference.json").write_text(pir(shapes, **graph))  # type: ignore[arg-type]
        elif layout == "pdmodel":
            (folder / "inference.pdmodel").write_bytes(program(shapes, **graph))
        else:
            (folder / "__model__").write_bytes(program(shapes, **graph))
        if layout == "separate":
            for name, dims in shapes.items():
                (folder / name).write_bytes(record(np.zeros(dims)))
        else:
            name = "__params__" if layout == "fluid" else "inference.pdiparams"
            (folder / name).write_bytes(combined(shapes))
        if description is not None:
            (folder / "inference.yml").write_text(description, encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def tensor_record() -> Callable[..., bytes]:
    """`record(values, levels=())`: one tensor as Paddle stores it."""
    return record


@pytest.fixture(scope="session")
def program_bytes() -> Callable[..., bytes]:
    """`program(shapes, height=4, last="softmax")`: a ProgramDesc."""
    return program


_HERE = Path(__file__).resolve().parent


def _run_paddle(script: str, *arguments: str, pir_api: bool = True) -> str:
    if importlib.util.find_spec("paddle") is None:
        pytest.skip("paddlepaddle is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(_HERE / script), *arguments],
        env={**os.environ, "FLAGS_enable_pir_api": "1" if pir_api else "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="session")
def run_paddle() -> Callable[..., str]:
    """Run a script beside this file that uses Paddle; returns what it prints."""
    return _run_paddle


@pytest.fixture(scope="session")
def paddle_export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Export a real, tiny convolutional net with Paddle.

    "pir" and "pdmodel" end with a softmax; "two outputs" is a PIR graph of two images a run that
    gives the logits and the softmax.
    """
    made: dict[str, Path] = {}

    def export(graph_format: str) -> Path:
        if graph_format not in made:
            folder = tmp_path_factory.mktemp("paddle")
            _run_paddle(
                "export_tiny_net.py", str(folder), graph_format, pir_api=graph_format != "pdmodel"
            )
            text = INFERENCE_YML
            if graph_format == "uint8":  # it takes pixels as they are
                before, _, after = text.partition("  - NormalizeImage:")
                text = before + after[after.index("  - ToCHWImage") :]
            (folder / "inference.yml").write_text(text, encoding="utf-8")
            made[graph_format] = folder
        return made[graph_format]

    return export


@pytest.fixture(scope="session")
def paddle_predict() -> Callable[..., list[tuple[str, str, np.ndarray]]]:
    """Run paddle.inference in a process of its own: shape, files of each model -> its answers.

    An answer is the names of input and output, and the scores.
    """

    def predict(shape: Sequence[int], *models: Sequence[Path]) -> list[tuple[str, str, np.ndarray]]:
        files = json.dumps([[str(file) for file in model] for model in models])
        answers = json.loads(_run_paddle("predict.py", files, json.dumps(shape)).splitlines()[-1])
        return [(name, output, np.array(scores)) for name, output, scores in answers]

    return predict


Export = Callable[..., "subprocess.CompletedProcess[str]"]
_SHUFFLENET = "imagenet_shufflenetv2_fluid_sep"
_TEXT_LINE = "ch_ppocr_mobile_v2_cls_infer"
_TEXT_LINE_OPS = """\
- ResizeImage: {size: [192, 48]}
- NormalizeImage: {scale: 1.0/255.0, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], order: ''}
- ToCHWImage: null
"""


@pytest.fixture(scope="session")
def export_bundle() -> Export:
    """Run `python -m converter export` as a user does: bundle, format, output, more."""

    def export(
        bundle: Path, to: str, output: Path, *more: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "converter", "export", str(bundle), "--to", to]
        return subprocess.run(
            [*command, "--output", str(output), *more],
            env={**os.environ, "COLUMNS": "200", **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    return export


@pytest.fixture(scope="session")
def real_bundle(
    request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The bundle of a real model: "waste", a kind of `paddle_export`, or a model of `shared`."""
    made: dict[str, Path] = {"waste": root / "serving_model/waste"}

    def bundle(name: str) -> Path:
        if name not in made:
            output = tmp_path_factory.mktemp("bundle") / name.replace(" ", "_")
            if name in ("pir", "pdmodel", "two outputs", "operators", "uint8"):
                folder = request.getfixturevalue("paddle_export")(name)
            else:
                folder = request.getfixturevalue("shared") / "models" / name
            convert(ConvertOptions(folder, output, _overrides(folder, output.parent)))
            made[name] = output
        return made[name]

    return bundle


def _overrides(folder: Path, scratch: Path) -> Overrides:
    if folder.name == _SHUFFLENET:
        return Overrides(folder.parent / "synset_words.txt", "imagenet-224")
    if folder.name == _TEXT_LINE:
        (scratch / "ops.yml").write_text(_TEXT_LINE_OPS)
        (scratch / "labels.txt").write_text("0\n180\n")
        return Overrides(scratch / "labels.txt", str(scratch / "ops.yml"))
    return Overrides()


@pytest.fixture(scope="session")
def exported(
    export_bundle: Export,
    real_bundle: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, str], tuple[Path, str]]:
    """Export a `real_bundle` once: its name, the format -> the folder and what was printed."""
    made: dict[tuple[str, str], tuple[Path, str]] = {}

    def export(name: str, to: str) -> tuple[Path, str]:
        if (name, to) not in made:
            output = tmp_path_factory.mktemp("exported") / "out"
            done = export_bundle(real_bundle(name), to, output)
            assert done.returncode == 0, done.stderr[-2000:]
            made[name, to] = output, done.stdout
        return made[name, to]

    return export
