"""The images of a measurement: which are taken, and what their folders are named after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundle import Bundle, load_bundle
from converter.bundling.convert import ConvertOptions, convert
from converter.errors import ConversionError
from converter.tuning.samples import read_samples


@pytest.fixture
def bundle(make_export: Callable[..., Path], tmp_path: Path) -> Bundle:
    convert(ConvertOptions(make_export("pdmodel"), tmp_path / "tiny"))
    return load_bundle(tmp_path / "tiny")


def _write(folder: Path, name: str, side: int = 8) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), np.zeros((side, side, 3), np.uint8))


def test_folders_named_as_labels_or_by_number_give_the_truth(
    bundle: Bundle, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    _write(images / "tench, Tinca tinca", "a.png")
    _write(images / "1", "b.png")
    samples = read_samples(images, bundle)
    truths = {Path(name).name: number for name, number in samples.truths.items()}
    assert truths == {"a.png": 2, "b.png": 1}
    assert not samples.notes


def test_folders_that_are_no_labels_are_noted(bundle: Bundle, tmp_path: Path) -> None:
    _write(tmp_path / "images" / "glass", "a.png")
    samples = read_samples(tmp_path / "images", bundle)
    assert samples.truths == {}
    assert "no labels of the bundle (glass)" in samples.notes[0]


def test_images_in_no_folder_have_no_truth(bundle: Bundle, tmp_path: Path) -> None:
    _write(tmp_path / "images", "a.png")
    samples = read_samples(tmp_path / "images", bundle)
    assert (samples.truths, samples.notes) == ({}, ())
    _write(tmp_path / "images" / "1", "b.png")
    assert "some lie in no folder" in read_samples(tmp_path / "images", bundle).notes[0]


def test_of_many_images_the_same_ones_are_taken_each_time(bundle: Bundle, tmp_path: Path) -> None:
    for number in range(520):
        _write(tmp_path / "images", f"{number}.png", 1)
    samples = read_samples(tmp_path / "images", bundle)
    assert len(samples.images) == 512
    assert "512 of 520 images were taken" in samples.notes[0]
    assert list(read_samples(tmp_path / "images", bundle).images) == list(samples.images)


def test_an_image_without_rights_is_left_out(bundle: Bundle, tmp_path: Path) -> None:
    _write(tmp_path / "images", "a.png")
    (tmp_path / "images" / "b.png").symlink_to(tmp_path / "nowhere.png")
    samples = read_samples(tmp_path / "images", bundle)
    assert [Path(name).name for name in samples.unreadable] == ["b.png"]
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(ConversionError, match="none of the images can be read"):
        read_samples(tmp_path / "images", bundle)


def test_made_images_are_jpegs_of_ordinary_sizes(bundle: Bundle) -> None:
    samples = read_samples(None, bundle)
    assert samples.made
    assert len(samples.images) >= 4
    for data in samples.images.values():
        assert data.startswith(b"\xff\xd8")
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert min(pixels.shape[:2]) >= 300
