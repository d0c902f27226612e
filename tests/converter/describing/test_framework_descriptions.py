"""Descriptions of timm, Hugging Face and Ultralytics: values, labels, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import BundleError
from bundle.inference_yml import InferenceDescription
from converter.describing.form import Source
from converter.describing.forms import read_description, read_metadata
from converter.errors import ConversionError
from converter.reading.graph import Graph, GraphTensor

VIT = {"image_processor_type": "ViTImageProcessor", "image_mean": [0.5, 0.5, 0.5]}
YOLO = {"task": "classify", "names": "{0: 'cat', 1: 'dog'}", "imgsz": "[64, 96]"}


def graph(*shape: int, activation: str = "none", **metadata: str) -> Graph:
    feed = GraphTensor("x", "float32", shape or (-1, 3, 224, 224))
    return Graph((feed,), (), (), (activation,), metadata=metadata)


def read(folder: Path, name: str, document: Any, **source: Any) -> InferenceDescription:
    (folder / name).write_text(json.dumps(document))
    return read_description(Source(folder / name, **source))


def operators(description: InferenceDescription) -> list[tuple[str, dict[str, Any]]]:
    return [(op.name, dict(op.options)) for op in description.transform_ops]


class TestTimm:
    def test_the_first_form_has_no_pretrained_cfg(self, tmp_path: Path) -> None:
        old = {"architecture": "resnet18", "input_size": [3, 96, 96], "crop_pct": 0.5}
        described = read(tmp_path, "config.json", old)
        assert described.model_name == "resnet18"
        assert operators(described)[0][1]["resize_short"] == 192
        assert described.labels is None

    @pytest.mark.parametrize("names", [["n1", "n2"], {"0": "n1", "1": "n2"}])
    def test_labels_are_the_descriptions_of_their_names(self, tmp_path: Path, names: Any) -> None:
        own = {"label_names": names, "label_descriptions": {"n1": "tench, Tinca tinca"}}
        described = read(tmp_path, "config.json", {"pretrained_cfg": own})
        assert described.labels == ("tench, Tinca tinca", "n2")
        given = {"pretrained_cfg": {}, **own}
        assert read(tmp_path, "config.json", given).labels == described.labels
        assert read(tmp_path, "config.json", given, labels_given=True).labels == ()

    def test_labels_above_the_weights_configuration_win(self, tmp_path: Path) -> None:
        """timm writes the names of a fine-tuned model there, and may leave the old ones below."""
        old = {"label_names": ["n1", "n2"], "label_descriptions": {"n1": "tench", "a": "wrong"}}
        document = {"pretrained_cfg": old, "label_names": ["a", "b"]}
        own = {"label_descriptions": {"a": "apple"}}
        assert read(tmp_path, "config.json", {**document, **own}).labels == ("apple", "b")

    def test_labels_under_the_names_of_other_writers(self, tmp_path: Path) -> None:
        for key, value in (("labels", ["a", "b"]), ("id2label", {"0": "a", "1": "b"})):
            document = {"pretrained_cfg": {}, key: value}
            assert read(tmp_path, "config.json", document).labels == ("a", "b")

    def test_the_size_of_the_test_counts_for_a_graph_of_that_size(self, tmp_path: Path) -> None:
        sizes = {
            "input_size": [3, 224, 224],
            "test_input_size": [3, 288, 288],
            "crop_pct": 0.95,
            "test_crop_pct": 1.0,
        }
        for side, resized in ((224, 235), (288, 288), (-1, 235)):
            described = read(
                tmp_path,
                "config.json",
                {"pretrained_cfg": sizes},
                graph=graph(-1, 3, side, side),
            )
            assert operators(described)[0][1]["resize_short"] == resized

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"input_size": [1, 28, 28]}, "input_size is .*begins with Grayscale"),
            ({"input_size": 224}, r"input_size is \[3, height, width\], not 224"),
            ({"interpolation": "random"}, "interpolation is one of nearest, .*not 'random'"),
            ({"crop_mode": "corner"}, "crop_mode is one of center, squash, border"),
            ({"crop_pct": "1"}, "crop_pct is a number above 0"),
            ({"mean": [0.5, 0.5]}, "mean is three numbers"),
            ({"mean": [10**400, 0, 0]}, "mean is three numbers"),
            ({"mean": [1e300, 0, 0]}, "mean is three numbers"),
            ({"std": [0, 1, 1]}, "std is three numbers that are not 0"),
            ({"label_names": ["a", True]}, "label_names: the label of class 1 is True, not text"),
            ({"label_names": {"0": "a", "2": "b"}}, "label_names names the classes"),
            ({"label_names": ["a"], "label_descriptions": ["b"]}, "label_descriptions"),
        ],
    )
    def test_a_wrong_value_is_named(
        self, tmp_path: Path, values: dict[str, Any], message: str
    ) -> None:
        with pytest.raises((BundleError, ConversionError), match=message):
            read(tmp_path, "config.json", {"pretrained_cfg": values})


class TestHuggingFace:
    NAME = "preprocessor_config.json"

    def test_labels_of_the_config_beside_it(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"id2label": {"1": "b", "0": "a"}}))
        found: list[Path] = []
        described = read(tmp_path, self.NAME, VIT, note_label_file=found.append, graph=graph())
        assert described.labels == ("a", "b")
        assert described.activation == "softmax"
        assert found == [tmp_path / "config.json"]

    def test_what_makes_scores(self, tmp_path: Path) -> None:
        config = {"id2label": {"0": "a"}, "problem_type": "multi_label_classification"}
        (tmp_path / "config.json").write_text(json.dumps(config))
        described = read(tmp_path, self.NAME, VIT, graph=graph())
        assert (described.multi_label, described.activation) == (True, "sigmoid")
        (tmp_path / "config.json").write_text("{}")
        # a graph that ends with a softmax gets no second one
        assert read(tmp_path, self.NAME, VIT, graph=graph(activation="softmax")).activation is None
        assert read(tmp_path, self.NAME, VIT).activation is None

    @pytest.mark.parametrize(
        ("size", "resized"),
        [
            (96, {"size": [96, 96]}),
            ([64, 96], {"size": [96, 64]}),
            ({"height": 64, "width": 96}, {"size": [96, 64]}),
            ({"shortest_edge": 96}, {"resize_short": 96, "rounding": "floor"}),
        ],
    )
    def test_sizes_of_every_version(self, tmp_path: Path, size: Any, resized: Any) -> None:
        first = operators(read(tmp_path, self.NAME, {**VIT, "size": size}))[0][1]
        assert {key: first[key] for key in resized} == resized

    def test_files_of_older_and_newer_versions(self, tmp_path: Path) -> None:
        wanted = read(tmp_path, self.NAME, VIT).transform_ops
        old = {"feature_extractor_type": "ViTFeatureExtractor"}
        for document in ({"image_processor": VIT}, old, {**VIT, "do_pad": None, "auto_map": {}}):
            assert read(tmp_path, self.NAME, document).transform_ops == wanted

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"image_processor_type": "DonutImageProcessor"}, "DonutImageProcessor is .*known"),
            ({"do_pad": True}, "do_pad of ViT is not known here"),
            ({"size": {"shortest_edge": 9, "longest_edge": 99}}, "size is a number"),
            ({"resample": 9}, "resample is a number from 0 to 5"),
            ({"do_resize": "yes"}, "do_resize is true or false"),
            ({"data_format": "channels_last"}, "data_format is channels_first"),
            ({"image_processor_type": "ConvNextImageProcessor", "size": [9, 9]}, "shortest_edge"),
        ],
    )
    def test_what_is_not_known_is_named(
        self, tmp_path: Path, values: dict[str, Any], message: str
    ) -> None:
        with pytest.raises((BundleError, ConversionError), match=message):
            read(tmp_path, self.NAME, {**VIT, **values})

    def test_labels_with_a_gap(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "a", "2": "c"}}))
        with pytest.raises(ConversionError, match=r"config\.json: id2label names the classes"):
            read(tmp_path, self.NAME, VIT)

    def test_a_config_that_is_no_mapping(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("[]")
        with pytest.raises(BundleError, match="must hold keys"):
            read(tmp_path, self.NAME, VIT)


class TestUltralytics:
    def test_metadata_of_a_graph_is_a_description(self) -> None:
        described = read_metadata(Source(Path("model.onnx"), graph=graph(**YOLO)))
        assert described is not None
        assert described.labels == ("cat", "dog")
        assert operators(described)[0][1]["size"] == [96, 64]
        assert read_metadata(Source(Path("model.onnx"), graph=graph(author="someone"))) is None
        assert read_metadata(Source(Path("model.onnx"))) is None

    @pytest.mark.parametrize(
        ("version", "first", "mean"),
        [
            ("8.4.190", "ResizeImage", 0.0),
            ("8.0.233", "ResizeImage", 0.0),
            ("8.0.232", "CropImageAtRatio", 0.0),
            ("8.0.53", "CropImageAtRatio", 0.0),
            ("8.0.52", "CropImageAtRatio", 0.485),
        ],
    )
    def test_each_version_prepares_as_it_did(self, version: str, first: str, mean: float) -> None:
        values = {**YOLO, "imgsz": "[64, 64]", "version": version}
        described = read_metadata(Source(Path("model.onnx"), graph=graph(**values)))
        assert described is not None
        steps = operators(described)
        assert steps[0][0] == first
        assert dict(steps)["NormalizeImage"]["mean"][0] == mean

    def test_metadata_yaml_beside_other_exports(self, tmp_path: Path) -> None:
        (tmp_path / "metadata.yaml").write_text(
            "task: classify\nnames: {0: cat}\nimgsz: [64, 64]\n"
        )
        described = read_description(Source(tmp_path / "metadata.yaml"))
        assert described.labels == ("cat",)
        assert operators(described)[0][1]["resize_short"] == 64

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"task": "detect"}, "Ultralytics' task detect; only classifiers"),
            ({"imgsz": "'large'"}, "imgsz is .*ultralytics:size=N"),
            ({"version": "8.0.100"}, "version 8.0.100 of Ultralytics takes square images only"),
            ({"channels": "1"}, "trained with 1 channels"),
            ({"names": "['a', 2.5]"}, "names: the label of class 1 is 2.5, not text"),
            ({"names": "{0: 'a'"}, "names names the classes"),
        ],
    )
    def test_what_cannot_be_served_is_named(self, values: dict[str, str], message: str) -> None:
        with pytest.raises((BundleError, ConversionError), match=message):
            read_metadata(Source(Path("model.onnx"), graph=graph(**{**YOLO, **values})))
