"""`python -m converter verify`: equal bundles pass, and each way of being unequal is found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from bundle import BundleError, load_bundle
from bundle.inference_yml import write_inference_yml
from bundle.model_config import ModelConfig, read_model_config, write_model_config
from converter.bundling.convert import ConvertOptions, convert
from converter.checking.images import drawn_images
from converter.checking.report import print_verification
from converter.checking.verify import verify
from converter.describing.overrides import Overrides
from converter.errors import ConversionError

WriteOnnx = Callable[..., dict[str, np.ndarray]]

DESCRIPTION = """\
PreProcess:
  transform_ops:
  - ResizeImage: {size: [8, 8]}
  - NormalizeImage: {order: ''}
  - ToCHWImage:
PostProcess: {Topk: {topk: 1, label_list: [a, b, c]}}
"""


@pytest.fixture
def export(tmp_path: Path, write_onnx: WriteOnnx) -> Path:
    (tmp_path / "export").mkdir()
    write_onnx(tmp_path / "export" / "net.onnx")
    (tmp_path / "export" / "inference.yml").write_text(DESCRIPTION)
    return tmp_path / "export"


@pytest.fixture
def bundle_dir(export: Path, tmp_path: Path) -> Path:
    return convert(ConvertOptions(export, tmp_path / "out")).path


def run(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "converter", "verify", *map(str, arguments)],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bundle_beside_its_own_copy_and_its_export(bundle_dir: Path, export: Path) -> None:
    for given in (None, export):
        found = verify(bundle_dir, export_dir=given)
        assert found.passed
        assert found.images == found.agreeing == len(drawn_images())
        assert found.largest_difference < 1e-6
        assert found.files == 6
        assert found.distinguishes


def test_the_images_differ_in_their_answers(bundle_dir: Path) -> None:
    """Otherwise the agreement would say nothing."""
    from pipeline.classifier import Classifier
    from pipeline.predictors import create_predictor
    from protocol.request import EncodedImage

    bundle = load_bundle(bundle_dir)
    classifier = Classifier(bundle, create_predictor(bundle))
    results = classifier.classify([EncodedImage(data) for data in drawn_images().values()])
    scores = [result[0].score for result in results]  # type: ignore[union-attr]
    assert len({round(score, 3) for score in scores}) == len(scores)


def test_logits_are_compared_too(tmp_path: Path, export: Path, write_onnx: WriteOnnx) -> None:
    write_onnx(export / "net.onnx", last=None)
    raw = convert(ConvertOptions(export, tmp_path / "raw", Overrides(logits=True))).path
    mended = convert(ConvertOptions(export, tmp_path / "mended", Overrides(softmax=True))).path
    assert verify(raw).passed
    assert verify(mended, export_dir=export).passed


@pytest.mark.slow
def test_the_embedded_model_on_images(root: Path) -> None:
    pytest.importorskip("paddle", reason="needs the extra cpu or gpu")
    done = run(root, "serving_model/waste", "--images", "examples/images")
    assert done.returncode == 0, done.stderr
    assert "the same for 11 of 11" in " ".join(done.stdout.split())
    assert done.stderr == ""


def test_unreadable_images_are_counted(
    bundle_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "good.png").write_bytes(
        cv2.imencode(".png", np.full((20, 20, 3), 90, np.uint8))[1].tobytes()
    )
    (images / "bad.jpg").write_bytes(b"no image")
    (images / "lost.jpg").symlink_to(tmp_path / "deleted.jpg")
    found = verify(bundle_dir, images=images)
    left_out = tuple(str(images / name) for name in ("lost.jpg", "bad.jpg"))
    assert (found.images, found.unreadable, found.agreeing) == (1, left_out, 1)
    assert not found.distinguishes
    print_verification(found)
    shown = "".join(capsys.readouterr().out.split())
    assert f"2unreadable,andleftout:{','.join(left_out)}" in shown
    (images / "good.png").unlink()
    with pytest.raises(ConversionError, match=r"bad\.jpg: none of the images can be read"):
        verify(bundle_dir, images=images)
    (images / "bad.jpg").unlink()
    (images / "lost.jpg").unlink()
    with pytest.raises(ConversionError, match="holds no images"):
        verify(bundle_dir, images=images)
    with pytest.raises(ConversionError, match="there is no such file or folder"):
        verify(bundle_dir, images=tmp_path / "nowhere")


def test_preprocessing_that_was_edited_is_found(bundle_dir: Path, export: Path, root: Path) -> None:
    bundle = load_bundle(bundle_dir)
    resize, _, planes = bundle.description.transform_ops
    wrong = replace(bundle.description.transform_ops[1], options={"order": "", "mean": [0, 0, 0]})
    description = replace(bundle.description, transform_ops=(resize, wrong, planes))
    write_inference_yml(description, bundle.server_dir / "inference.yml")
    done = run(root, bundle_dir, "--export", export)
    assert done.returncode == 1
    assert "scores differ by" in done.stderr
    assert done.stderr.count("\n") == 1
    assert run(root, bundle_dir, "--export", export, "--tolerance", "1").returncode == 0


def test_edited_descriptions_are_named(
    bundle_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(bundle_dir).edited == ()
    with (bundle_dir / "serving_server/inference.yml").open("a") as file:
        file.write("# mine\n")
    found = verify(bundle_dir)
    assert found.passed
    assert found.edited == ("serving_server/inference.yml",)
    print_verification(found)
    shown = " ".join(capsys.readouterr().out.split())
    assert "6, as bundle.yml records them, but for serving_server/inference.yml, edited" in shown


def test_another_model_under_the_same_names_is_found(
    bundle_dir: Path, export: Path, write_onnx: WriteOnnx
) -> None:
    write_onnx(export / "net.onnx", last="Sigmoid")
    with pytest.raises(ConversionError, match="not the graph that the bundle was made from"):
        verify(bundle_dir, export_dir=export)
    write_onnx(bundle_dir / "serving_server/inference.onnx", last=None)
    with pytest.raises((ConversionError, BundleError), match=r"inference\.onnx"):
        verify(bundle_dir)


def test_one_changed_byte_is_found(bundle_dir: Path) -> None:
    file = bundle_dir / "serving_server/inference.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ConversionError, match="not the file the bundle was made with"):
        verify(bundle_dir)


def test_text_and_stream_that_disagree_are_found(bundle_dir: Path) -> None:
    server = bundle_dir / "serving_server"
    text = (server / "serving_server_conf.prototxt").read_text()
    (server / "serving_server_conf.prototxt").write_text(text.replace("prediction", "scores2"))
    with pytest.raises(BundleError, match="disagrees with"):
        verify(bundle_dir)


@pytest.mark.parametrize(
    "change",
    [{"name": "y"}, {"dtype": "float64"}, {"shape": (3, 8, 9)}],
    ids=["name", "type", "shape"],
)
def test_prototxt_that_is_not_the_graphs_is_found(
    bundle_dir: Path, change: dict[str, object]
) -> None:
    for folder, stem in (
        ("serving_server", "serving_server_conf"),
        ("serving_client", "serving_client_conf"),
    ):
        config = read_model_config(bundle_dir / folder / f"{stem}.prototxt")
        feed = replace(config.feeds[0], **change)  # type: ignore[arg-type]
        write_model_config(ModelConfig((feed,), config.fetches), bundle_dir / folder, stem)
    with pytest.raises(ConversionError, match=r"serving_server_conf\.prototxt says that"):
        verify(bundle_dir)


@pytest.mark.parametrize("absolute", [False, True])
def test_an_export_whose_files_lie_in_a_subfolder(
    tmp_path: Path, export: Path, absolute: bool
) -> None:
    (export / "best").mkdir()
    (export / "net.onnx").rename(export / "best/net.onnx")
    # a folder that a link leads to, as `current -> release-7`
    (tmp_path / "current").symlink_to(export)
    model_file = str(tmp_path / "current/best/net.onnx") if absolute else "best/net.onnx"
    bundle = convert(ConvertOptions(export, tmp_path / "out", model_file=model_file))
    record = yaml.safe_load((bundle.path / "bundle.yml").read_text())
    assert record["source"]["model_file"] == record["options"]["model_file"] == "best/net.onnx"
    assert str(tmp_path) not in (bundle.path / "bundle.yml").read_text()
    assert verify(bundle.path, export_dir=export).passed
    moved = export.rename(tmp_path / "moved")
    assert verify(bundle.path, export_dir=moved).passed


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ("Rotate: {degrees: 5}", "Rotate"),
        ("ResizeImage: {sizes: [8, 8]}", "sizes"),
        ("ResizeImage: {size: [-1, 8]}", "size"),
        ("ResizeImage: {size: [9, 9]}", "9"),
    ],
)
def test_a_description_that_was_edited_wrongly_is_one_line(
    bundle_dir: Path, export: Path, wrong: str, cause: str
) -> None:
    described = DESCRIPTION.replace("ResizeImage: {size: [8, 8]}", wrong)
    (export / "inference.yml").write_text(described)
    with pytest.raises((ConversionError, BundleError), match=f"{export}.*{cause}"):
        verify(bundle_dir, export_dir=export)
    (export / "inference.yml").write_text(DESCRIPTION)
    (bundle_dir / "serving_server/inference.yml").write_text(described)
    for given in (None, export):
        with pytest.raises((ConversionError, BundleError), match=f"{bundle_dir}.*{cause}"):
            verify(bundle_dir, export_dir=given)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("source", {"model_file": 5}),
        ("source", {"model_file": ["net.onnx"]}),
        ("source", {"params_file": True}),
        ("source", {"model_file": "../elsewhere/net.onnx"}),
        ("model", {"fixed_batch": "two"}),
        ("model", {"fixed_batch": 0}),
        ("model", {"output_activation": ["softmax"]}),
    ],
)
def test_a_record_that_was_edited_wrongly_is_one_line(
    bundle_dir: Path, export: Path, section: str, values: dict[str, object]
) -> None:
    file = bundle_dir / "bundle.yml"
    record = yaml.safe_load(file.read_text())
    record[section] = {**record[section], **values}
    file.write_text(yaml.safe_dump(record))
    with pytest.raises((ConversionError, BundleError), match=rf"bundle\.yml: {section}\."):
        verify(bundle_dir, export_dir=export)


def test_no_bundle(tmp_path: Path, root: Path) -> None:
    done = run(root, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "is no serving bundle" in done.stderr
