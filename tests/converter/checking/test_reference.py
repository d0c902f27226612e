"""`verify --reference`: a bundle's whole way against scores that a framework wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle import Bundle, load_bundle
from converter.__main__ import main
from converter.bundling.convert import ConvertOptions, convert
from converter.checking.reference import compare_with_reference
from converter.describing.overrides import Overrides
from converter.errors import ConversionError
from pipeline.classifier import Classifier
from pipeline.predictors import create_predictor

pytestmark = pytest.mark.usefixtures("wide")
LABELS = ("red", "green, or so", "蓝")
SIDE = 32
STEPS = """\
- ResizeImage: {size: [32, 32]}
- NormalizeImage: {mean: [0.5, 0.4, 0.3], std: [0.2, 0.2, 0.2], order: ''}
- ToCHWImage:
"""


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of the report are not broken."""
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def bundle(tmp_path: Path, write_onnx: Callable[..., object]) -> Bundle:
    export = tmp_path / "export"
    export.mkdir()
    write_onnx(export / "net.onnx", size=SIDE, convolution=True)
    (export / "labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    (tmp_path / "ops.yml").write_text(STEPS)
    overrides = Overrides(preprocess=str(tmp_path / "ops.yml"))
    return convert(ConvertOptions(export, tmp_path / "net", overrides))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six images of blobs, in two folders."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    random = np.random.default_rng(1)
    for number in range(6):
        coarse = random.integers(0, 256, (4, 5, 3), np.uint8)
        image = Image.fromarray(coarse).resize((90, 70), Image.Resampling.BICUBIC)
        image.save(folder / ("more" if number > 3 else "") / f"{number}.png")
    return folder


def scores_of(bundle: Bundle, image: Image.Image) -> np.ndarray:
    """What the bundle gives for pixels, as a framework would that prepares them so."""
    classifier = Classifier(bundle, create_predictor(bundle))
    pixels = np.asarray(image.convert("RGB"))
    row: np.ndarray = classifier.predictor.predict(classifier.preprocess(pixels)[np.newaxis])[0]
    return row


def references(bundle: Bundle, images: Path) -> dict[str, np.ndarray]:
    """Path below `images` -> scores, in sorted order."""
    files = sorted(images.rglob("*.*"))
    return {str(file.relative_to(images)): scores_of(bundle, Image.open(file)) for file in files}


def write_csv(path: Path, rows: Mapping[str, np.ndarray], header: tuple[str, ...] = LABELS) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image", *header])
        out.writerows([name, *map(float, row)] for name, row in rows.items())
    return path


def write_npz(path: Path, rows: Mapping[str, np.ndarray]) -> Path:
    np.savez(path, names=list(rows), scores=np.stack(list(rows.values())))
    return path


def write_npy(path: Path, rows: Mapping[str, np.ndarray]) -> Path:
    np.save(path, np.stack(list(rows.values())))
    return path


@pytest.mark.parametrize("form", ["csv", "npz", "npy"])
def test_the_same_scores_pass_in_each_form(
    bundle: Bundle,
    images: Path,
    tmp_path: Path,
    form: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = {"csv": write_csv, "npz": write_npz, "npy": write_npy}[form]
    file = write(tmp_path / f"scores.{form}", references(bundle, images))
    arguments = ["verify", str(bundle.path), "--reference", str(file), "--images", str(images)]
    assert main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "best class the same for 6 of 6" in shown
    assert "0.0001 allowed" in shown
    compared = compare_with_reference(bundle.path, file, images)
    assert compared.images[0].difference < 1e-5
    assert not compared.causes


def test_names_may_stand_in_any_order_and_under_other_folders(
    bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    rows = references(bundle, images)
    moved = {f"C:\\data\\val\\{Path(name).name}": rows[name] for name in reversed(rows)}
    file = write_npz(tmp_path / "scores.npz", moved)
    assert compare_with_reference(bundle.path, file, images).passed


def test_columns_are_found_by_label_and_by_number(
    bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    turned = {name: row[::-1] for name, row in references(bundle, images).items()}
    for header in (LABELS[::-1], ("2", "1", "0")):
        file = write_csv(tmp_path / "scores.csv", turned, header)
        assert compare_with_reference(bundle.path, file, images).passed
    file = write_csv(tmp_path / "scores.csv", turned, ("one", "two", "three"))
    compared = compare_with_reference(bundle.path, file, images)
    assert not compared.passed
    (cause,) = compared.causes
    assert cause.startswith("the same scores in another order of classes")


def test_rows_in_another_order_are_found(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    rows = references(bundle, images)
    names = list(rows)
    shifted = dict(zip(names, [rows[name] for name in [*names[1:], names[0]]], strict=True))
    compared = compare_with_reference(
        bundle.path, write_npy(tmp_path / "scores.npy", shifted), images
    )
    (cause,) = compared.causes
    assert cause.startswith("rows in another order than the sorted files")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (
            lambda rows: dict(list(rows.items())[1:]),
            r"0.png has no row; the same images are needed",
        ),
        (lambda rows: {**rows, "x/9.png": rows["0.png"]}, r"x/9.png names no image in --images"),
        (lambda rows: {**rows, "y/0.png": rows["0.png"]}, r"0.png has two rows, one of them as 'y"),
        (lambda rows: {name: row[:2] for name, row in rows.items()}, "has 2 scores an image, and"),
        (lambda rows: {**rows, "0.png": rows["0.png"] * np.nan}, "row 1 has a score that is no f"),
    ],
)
def test_rows_and_images_belong_together(
    bundle: Bundle,
    images: Path,
    tmp_path: Path,
    change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]],
    cause: str,
) -> None:
    file = write_npz(tmp_path / "scores.npz", change(references(bundle, images)))
    with pytest.raises(ConversionError, match=cause):
        compare_with_reference(bundle.path, file, images)


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("s.txt", b"", r"is none of a .csv of image,score,score..., a .npz"),
        ("s.csv", b"", "its first line is not image, then a name for each class"),
        ("s.csv", b"0.png,0.1,0.2,0.7\n", "its first line is not image, then a name for each"),
        ("s.csv", b"image,a,b,c\n0.png,1,2\n", "line 2 has 3 fields, the first line 4"),
        ("s.csv", b"image,a,b,c\n0.png,1,2,x\n", "line 2: could not convert string to float: 'x'"),
        ("s.csv", b"image,a,b,c\n", r"scores have the shape \[0, 3\]; a row for each image"),
        ("s.csv", b"\xff\xfeimage", "cannot be read .*utf-8"),
        ("s.npy", b"no array", "cannot be read"),
        ("s.npz", b"PK\x03\x04", "cannot be read"),
        ("none.npy", None, "there is no such file"),
    ],
)
def test_files_that_hold_no_scores(
    bundle: Bundle, images: Path, tmp_path: Path, name: str, content: bytes | None, cause: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConversionError, match=cause) as raised:
        compare_with_reference(bundle.path, tmp_path / name, images)
    assert name in str(raised.value)


def test_objects_in_an_array_are_not_unpickled(
    bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "s.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ConversionError, match="cannot be read"):
        compare_with_reference(bundle.path, tmp_path / "s.npy", images)


def test_logits_are_compared_as_probabilities_and_said_to_be(
    bundle: Bundle, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {name: np.log(row) + 3 for name, row in references(bundle, images).items()}
    file = write_npy(tmp_path / "scores.npy", rows)
    assert compare_with_reference(bundle.path, file, images).passed
    arguments = ["verify", str(bundle.path), "--reference", str(file), "--images", str(images)]
    assert main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "the reference holds logits and the bundle gives probabilities; their softmax is" in shown
    )


def test_percentages_are_compared_as_probabilities(
    bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    rows = {name: 100 * row for name, row in references(bundle, images).items()}
    file = write_csv(tmp_path / "scores.csv", rows)
    compared = compare_with_reference(bundle.path, file, images)
    assert compared.passed
    assert compared.conversion == "the reference is in percent; /100"


def test_probabilities_for_a_bundle_of_logits_are_refused(
    bundle: Bundle, images: Path, tmp_path: Path, write_onnx: Callable[..., object]
) -> None:
    file = write_csv(tmp_path / "scores.csv", references(bundle, images))
    write_onnx(tmp_path / "export" / "net.onnx", size=SIDE, convolution=True, last=None)
    overrides = Overrides(preprocess=str(tmp_path / "ops.yml"), logits=True)
    logits = convert(ConvertOptions(tmp_path / "export", tmp_path / "logits", overrides))
    with pytest.raises(ConversionError, match="holds probabilities, and the bundle gives logits"):
        compare_with_reference(logits.path, file, images)
    own = write_npy(tmp_path / "scores.npy", references(logits, images))
    assert compare_with_reference(logits.path, own, images).passed


def test_exif_orientation_that_the_framework_does_not_apply(
    bundle: Bundle, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(images / "1.png") as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = io.BytesIO()
        image.save(turned, "PNG", exif=exif)
    (images / "1.png").write_bytes(turned.getvalue())
    file = write_csv(tmp_path / "scores.csv", references(bundle, images))
    arguments = ["verify", str(bundle.path), "--reference", str(file), "--images", str(images)]
    assert main(arguments) == 1
    output = capsys.readouterr()
    shown = " ".join(output.out.split())
    assert "EXIF orientation that the framework did not apply, and the service does" in shown
    assert "PNG 90x70, EXIF orientation 6" in shown
    assert "does not answer as" in output.err


@pytest.mark.parametrize(
    ("prepared", "cause"),
    [
        ("- ResizeImage: {size: [32, 32]}\n- ToCHWImage:\n", "--preprocess keras-pixels-32"),
        ("- DecodeImage: {to_rgb: false}\n" + STEPS, "channels in the order BGR in place of RGB"),
    ],
)
def test_other_preprocessing_is_recognised(
    bundle: Bundle, images: Path, tmp_path: Path, prepared: str, cause: str
) -> None:
    """The framework prepares images in a way that the bundle does not."""
    (tmp_path / "ops.yml").write_text(prepared)
    overrides = Overrides(preprocess=str(tmp_path / "ops.yml"))
    real = convert(ConvertOptions(tmp_path / "export", tmp_path / "real", overrides))
    file = write_npz(tmp_path / "scores.npz", references(real, images))
    compared = compare_with_reference(bundle.path, file, images)
    assert not compared.passed
    assert compared.causes[0].startswith(cause)
    assert "6 of 6 images would differ by" in compared.causes[0]


def test_an_image_that_pillow_decodes_otherwise_is_named(
    bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    with Image.open(images / "1.png") as image:
        image.convert("CMYK").save(images / "1.jpg")
    (images / "1.png").unlink()
    file = write_csv(tmp_path / "scores.csv", references(bundle, images))
    compared = compare_with_reference(bundle.path, file, images)
    (cause,) = compared.causes
    assert cause.startswith("pixels as Pillow decodes them; the service decodes as OpenCV does")
    assert cause.endswith("1.jpg (JPEG 90x70, CMYK)")


def test_scores_that_are_the_same_for_all_images_show_little(
    bundle: Bundle, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = references(bundle, images)
    file = write_csv(tmp_path / "scores.csv", dict.fromkeys(rows, rows["0.png"]))
    arguments = ["verify", str(bundle.path), "--reference", str(file), "--images", str(images)]
    assert main([*arguments, "--tolerance", "1"]) == 0
    assert "are nearly the same, so this shows little" in capsys.readouterr().out


def test_an_image_that_a_service_refuses_fails(
    bundle: Bundle, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = references(bundle, images)
    data = (images / "2.png").read_bytes()
    (images / "2.png").write_bytes(data[: len(data) // 2])
    file = write_csv(tmp_path / "scores.csv", rows)
    arguments = ["verify", str(bundle.path), "--reference", str(file), "--images", str(images)]
    assert main(arguments) == 1
    assert "is cut off" in " ".join(capsys.readouterr().out.split())


def test_the_tolerance_is_an_option(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    rows = {name: row + 0.01 for name, row in references(bundle, images).items()}
    file = write_npy(tmp_path / "scores.npy", rows)
    arguments = ["verify", str(bundle.path), "--reference", str(file), "--images", str(images)]
    assert main(arguments) == 1
    assert main([*arguments, "--tolerance", "0.02"]) == 0


@pytest.mark.parametrize("more", [[], ["--images", "x", "--export", "y"]])
def test_the_command_line_needs_images_and_no_export(more: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["verify", "net", "--reference", "scores.npy", *more])
    assert raised.value.code == 2


def test_a_changed_bundle_is_found_first(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    file = write_npy(tmp_path / "scores.npy", references(bundle, images))
    model = load_bundle(bundle.path).model_file
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    with pytest.raises(ConversionError, match="is not the file the bundle was made with"):
        compare_with_reference(bundle.path, file, images)
