"""An export becomes a bundle that load_bundle takes and Paddle runs."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bundle import BundleError, load_bundle
from bundle.inference_yml import InferenceDescription, TransformOp
from bundle.model_config import ModelConfig, TensorSpec, read_model_config, write_model_config
from converter.bundling.convert import ConvertOptions, convert, preview
from converter.bundling.trial import try_preprocessing
from converter.checking.inspection import inspect_folder
from converter.describing.overrides import Overrides
from converter.errors import ConversionError
from tests.patience import PATIENCE_S

MakeExport = Callable[..., Path]

LAYOUTS = {
    "pir": ("pir", "inference.json", "inference.pdiparams"),
    "pdmodel": ("pdmodel", "inference.pdmodel", "inference.pdiparams"),
    "fluid": ("fluid", "__model__", "__params__"),
    "separate": ("fluid", "__model__", None),
}

OPS = "PreProcess: {transform_ops: [ResizeImage: {size: [4, 4]}, ToCHWImage: null]}\n"
UNREADABLE = {
    "inference_cls.yaml": OPS
    + "PostProcess: {ScoreOutput: {decimal_places: 3}, main_indicator: ScoreOutput}\n",
    "model.yml": "{Transforms: [], _Attributes: {model_type: detector}}\n",
    "inference.yml": "PreProcess: [\n",
}
WRONG_LABELS = {
    "inference.yml": OPS + "PostProcess: {Topk: {topk: 1, label_list: [0, 1, no]}}\n",
    "inference_cls.yaml": OPS + "PostProcess: {Topk: {topk: 1, class_id_map_file: names.txt}}\n",
    "model.yml": "{Transforms: [Resize: {target_size: 4}], _Attributes: {labels: [0, 1, no]}}\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_becomes_a_bundle(
    make_export: MakeExport, tmp_path: Path, layout: str
) -> None:
    export = make_export(layout)
    bundle = convert(ConvertOptions(export, tmp_path / "serving_model/tiny"))
    graph_format, model_file, params_file = LAYOUTS[layout]
    assert bundle.graph_format.name == graph_format
    assert bundle.graph.model_file.name == model_file
    assert (bundle.graph.params_file and bundle.graph.params_file.name) == params_file
    for file in export.iterdir():
        if file.suffix != ".yml":
            assert (bundle.server_dir / file.name).read_bytes() == file.read_bytes()
    (feed,) = bundle.model_config.feeds
    (fetch,) = bundle.model_config.fetches
    assert (feed.name, feed.alias, feed.dtype, feed.shape) == ("x", "x", "float32", (3, 4, 4))
    assert (fetch.alias, fetch.dtype, fetch.shape) == ("prediction", "float32", (3,))
    assert bundle.labels == ("0", "可回收物/纸板", "tench, Tinca tinca")
    assert bundle.description.topk == 2
    for suffix in (".prototxt", ".stream.prototxt"):
        server = read_model_config(bundle.server_dir / f"serving_server_conf{suffix}")
        client = read_model_config(bundle.path / "serving_client" / f"serving_client_conf{suffix}")
        assert server == client == bundle.model_config


def test_unknown_sections_travel_along(make_export: MakeExport, tmp_path: Path) -> None:
    bundle = convert(ConvertOptions(make_export(), tmp_path / "out"))
    document = yaml.safe_load((bundle.server_dir / "inference.yml").read_text(encoding="utf-8"))
    assert document["Hpi"] == {"backend_configs": {"paddle_infer": {"x": [1, 3, 4, 4]}}}


def test_nothing_but_the_bundle_is_left(make_export: MakeExport, tmp_path: Path) -> None:
    convert(ConvertOptions(make_export(), tmp_path / "serving_model/tiny"))
    assert [path.name for path in (tmp_path / "serving_model").iterdir()] == ["tiny"]
    assert sorted(path.name for path in (tmp_path / "serving_model/tiny").iterdir()) == [
        "bundle.yml",
        "serving_client",
        "serving_server",
    ]


def test_the_record_names_sources_and_hashes(make_export: MakeExport, tmp_path: Path) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("一\n二\n三\n", encoding="utf-8")
    bundle = convert(
        ConvertOptions(make_export(), tmp_path / "out", overrides=Overrides(labels=labels, topk=1))
    )
    record = yaml.safe_load((bundle.path / "bundle.yml").read_text(encoding="utf-8"))
    assert record["source"]["folder"] == "pdmodel"
    assert record["options"] == {"labels": "names.txt", "topk": 1}
    assert record["model"]["output_activation"] == "softmax"
    for name, facts in record["files"].items():
        assert (bundle.path / name).stat().st_size == facts["size"]
        assert len(facts["sha256"]) == 64
    assert str(tmp_path) not in (bundle.path / "bundle.yml").read_text(encoding="utf-8")


def test_the_record_says_where_files_lie_in_the_export(
    make_export: MakeExport, tmp_path: Path
) -> None:
    export = make_export("fluid")
    (export / "weights").mkdir()
    (export / "__params__").rename(export / "weights/best.bin")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(export / "weights/best.bin", elsewhere / "mine.bin")
    for number, (given, recorded) in enumerate(
        {
            "weights/best.bin": "weights/best.bin",
            str(export / "weights/best.bin"): "weights/best.bin",
            "./weights/../weights/best.bin": "weights/best.bin",
            str(elsewhere / "mine.bin"): "mine.bin",
        }.items()
    ):
        bundle = convert(ConvertOptions(export, tmp_path / f"out{number}", params_file=given))
        text = (bundle.path / "bundle.yml").read_text(encoding="utf-8")
        record = yaml.safe_load(text)
        assert record["source"]["params_file"] == record["options"]["params_file"] == recorded
        assert str(tmp_path) not in text


def test_equal_inputs_give_equal_bundles(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export()
    first = convert(ConvertOptions(export, tmp_path / "a")).path
    second = convert(ConvertOptions(export, tmp_path / "b")).path
    files = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
    assert files
    for file in files:
        assert (first / file).read_bytes() == (second / file).read_bytes()


def test_aliases_can_be_given(make_export: MakeExport, tmp_path: Path) -> None:
    bundle = convert(
        ConvertOptions(
            make_export(), tmp_path / "out", feed_aliases=("image",), fetch_aliases=("scores",)
        )
    )
    assert bundle.model_config.feeds[0].alias == "image"
    assert bundle.model_config.fetches[0].alias == "scores"


def test_a_bundle_of_serving_0_9_keeps_its_aliases(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export("fluid")
    (export / "serving_server_conf.prototxt").write_text(
        'feed_var { name: "x" alias_name: "image" feed_type: 1 shape: 3 }\n'
        'fetch_var { name: "out" alias_name: "price" fetch_type: 1 shape: 3 }\n'
    )
    bundle = convert(ConvertOptions(export, tmp_path / "out"))
    assert bundle.model_config.feeds[0].alias == "image"
    assert bundle.model_config.feeds[0].shape == (3, 4, 4)
    assert bundle.model_config.fetches[0].alias == "price"


@pytest.mark.parametrize(
    ("aliases", "cause"),
    [
        ({"feed_aliases": ("a", "b")}, "--feed-alias: 2 given, the model has 1: x"),
        ({"fetch_aliases": ("a", "b")}, "--fetch-alias: 2 given, the model has 1: out"),
        ({"feed_aliases": ("",)}, "one is empty; give 1 different"),
    ],
)
def test_aliases_must_fit(
    make_export: MakeExport, tmp_path: Path, aliases: dict[str, tuple[str, ...]], cause: str
) -> None:
    with pytest.raises(ConversionError, match=cause):
        convert(ConvertOptions(make_export(), tmp_path / "out", **aliases))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("last", "activation"), [("softmax", "softmax"), ("", "none")])
def test_the_record_says_whether_scores_are_probabilities(
    make_export: MakeExport, tmp_path: Path, last: str, activation: str
) -> None:
    overrides = Overrides(logits=activation == "none")
    bundle = convert(ConvertOptions(make_export(last=last), tmp_path / "out", overrides))
    record = yaml.safe_load((bundle.path / "bundle.yml").read_text(encoding="utf-8"))
    assert record["model"]["output_activation"] == activation


@pytest.mark.parametrize("graph_format", ["pir", "pdmodel"])
def test_what_paddle_exports_answers_as_before(
    paddle_export: Callable[[str], Path],
    paddle_predict: Callable[..., list[tuple[str, str, object]]],
    tmp_path: Path,
    graph_format: str,
) -> None:
    export = paddle_export(graph_format)
    bundle = convert(ConvertOptions(export, tmp_path / "out"))
    assert bundle.graph_format.name == graph_format
    model = bundle.graph.model_file
    names = (model.name, "inference.pdiparams")
    folders = (export, bundle.server_dir)
    before, after = paddle_predict((2, 3, 4, 4), *([at / name for name in names] for at in folders))
    # the names that the bundle holds are those the predictor knows
    assert after[:2] == (bundle.model_config.feeds[0].name, bundle.model_config.fetches[0].name)
    assert after[2].shape == (2, 3)  # type: ignore[attr-defined]
    assert (after[2] == before[2]).all()  # type: ignore[attr-defined]


class TestDescriptions:
    """Where preprocessing and labels come from."""

    def test_without_a_description_it_is_asked_for(
        self, make_export: MakeExport, tmp_path: Path
    ) -> None:
        with pytest.raises(ConversionError, match="give --preprocess FILE"):
            convert(ConvertOptions(make_export(description=None), tmp_path / "out"))

    def test_without_labels_they_are_asked_for(
        self, make_export: MakeExport, tmp_path: Path
    ) -> None:
        ops = tmp_path / "ops.yml"
        ops.write_text("- ResizeImage: {size: [4, 4]}\n- ToCHWImage:\n")
        with pytest.raises(ConversionError, match="give --labels FILE"):
            convert(
                ConvertOptions(
                    make_export(description=None), tmp_path / "out", Overrides(preprocess=str(ops))
                )
            )

    @pytest.mark.parametrize(
        "text",
        [
            "- ResizeImage: {size: [4, 4]}\n- ToCHWImage:\n",
            "transform_ops:\n- ResizeImage: {size: [4, 4]}\n- ToCHWImage:\n",
            "PreProcess:\n  transform_ops:\n  - ResizeImage: {size: [4, 4]}\n  - ToCHWImage:\n",
        ],
    )
    def test_preprocessing_from_a_file(
        self, make_export: MakeExport, tmp_path: Path, text: str
    ) -> None:
        ops, labels = tmp_path / "ops.yml", tmp_path / "labels.txt"
        ops.write_text(text)
        labels.write_text("﻿纸板, 厚\nb\nc\n\n", encoding="utf-8")
        bundle = convert(
            ConvertOptions(
                make_export(description=None), tmp_path / "out", Overrides(labels, str(ops))
            )
        )
        assert [op.name for op in bundle.description.transform_ops] == ["ResizeImage", "ToCHWImage"]
        assert bundle.labels == ("纸板, 厚", "b", "c")

    def test_options_win_over_the_file_beside_the_model(
        self, make_export: MakeExport, tmp_path: Path
    ) -> None:
        ops, labels = tmp_path / "ops.yml", tmp_path / "labels.txt"
        ops.write_text("- ResizeImage: {size: [4, 4]}\n- ToCHWImage:\n")
        labels.write_text("a\nb\nc\n")
        bundle = convert(
            ConvertOptions(make_export(), tmp_path / "out", Overrides(labels, str(ops), topk=3))
        )
        assert len(bundle.description.transform_ops) == 2
        assert bundle.labels == ("a", "b", "c")
        assert bundle.description.topk == 3
        assert "Hpi" in bundle.description.document

    def test_several_label_files_beside_the_model_are_listed(
        self, make_export: MakeExport, tmp_path: Path
    ) -> None:
        export = make_export(description=OPS)
        for name in ("labels.txt", "label_list.txt"):
            (export / name).write_text("a\nb\nc\n")
        cause = r"2 label files \(labels\.txt, label_list\.txt\); choose one with --labels"
        with pytest.raises(ConversionError, match=cause):
            convert(ConvertOptions(export, tmp_path / "out"))
        overrides = Overrides(export / "label_list.txt")
        assert convert(ConvertOptions(export, tmp_path / "out", overrides)).labels == (
            "a",
            "b",
            "c",
        )

    @pytest.mark.parametrize("name", UNREADABLE)
    def test_what_lies_beside_the_model_and_is_not_needed_may_be_unreadable(
        self,
        make_export: MakeExport,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        name: str,
    ) -> None:
        export = make_export(description=None)
        (export / name).write_text(UNREADABLE[name])
        ops, labels = tmp_path / "ops.yml", tmp_path / "labels.txt"
        ops.write_text("- ResizeImage: {size: [4, 4]}\n- ToCHWImage:\n")
        labels.write_text("a\nb\nc\n")
        with pytest.raises((ConversionError, BundleError), match=name):
            convert(ConvertOptions(export, tmp_path / "out", Overrides(labels)))
        with pytest.raises(ConversionError, match=f"{name}.*give --labels FILE"):
            convert(ConvertOptions(export, tmp_path / "out", Overrides(preprocess=str(ops))))
        assert not (tmp_path / "out").exists()
        bundle = convert(ConvertOptions(export, tmp_path / "out", Overrides(labels, str(ops))))
        assert bundle.labels == ("a", "b", "c")
        message = capsys.readouterr().err
        assert message.startswith("warning: the description beside the model is unreadable and not")
        assert name in message
        assert message.count("\n") == 1

    @pytest.mark.parametrize("name", WRONG_LABELS)
    def test_labels_beside_the_model_that_are_not_needed_may_be_wrong(
        self,
        make_export: MakeExport,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        name: str,
    ) -> None:
        export = make_export(description=None)
        (export / name).write_text(WRONG_LABELS[name])
        (export / "names.txt").write_bytes(b"\xff\xfe\0")
        with pytest.raises((ConversionError, BundleError), match=r"in quotes|names\.txt"):
            convert(ConvertOptions(export, tmp_path / "out"))
        labels = tmp_path / "labels.txt"
        labels.write_text("a\nb\nc\n")
        bundle = convert(ConvertOptions(export, tmp_path / "out", Overrides(labels)))
        assert bundle.labels == ("a", "b", "c")
        # everything else in it counts
        assert [op.name for op in bundle.description.transform_ops][-1] == "ToCHWImage"
        assert capsys.readouterr().err == ""

    def test_labels_of_a_model_yml_whose_operators_are_replaced(
        self, make_export: MakeExport, tmp_path: Path
    ) -> None:
        export = make_export(description=None)
        (export / "model.yml").write_text(
            "{Transforms: [Equalize: {}], _Attributes: {labels: [a, b, c]}}"
        )
        ops = tmp_path / "ops.yml"
        ops.write_text("- ResizeImage: {size: [4, 4]}\n- ToCHWImage:\n")
        with pytest.raises(ConversionError, match="give it with --preprocess"):
            convert(ConvertOptions(export, tmp_path / "out"))
        bundle = convert(ConvertOptions(export, tmp_path / "out", Overrides(preprocess=str(ops))))
        assert bundle.labels == ("a", "b", "c")

    @pytest.mark.parametrize(("count", "cause"), [(2, "too few"), (4, "too many")])
    def test_labels_must_be_as_many_as_classes(
        self, make_export: MakeExport, tmp_path: Path, count: int, cause: str
    ) -> None:
        labels = tmp_path / "labels.txt"
        labels.write_text("".join(f"class {n}\n" for n in range(count)))
        with pytest.raises(BundleError, match=cause) as error:
            convert(ConvertOptions(make_export(), tmp_path / "out", Overrides(labels)))
        assert "labels.txt" in str(error.value)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            ("- [", "not|YAML"),
            ("just text", "holds none of PreProcess"),
            ("- ResizeImage: {size: [4, 4]}\n  CropImage: {size: 4}\n", "transform_ops"),
            ("- ResizeImag: {size: [4, 4]}\n", "ResizeImag"),
            ("- ResizeImage: {sizes: [4, 4]}\n", "ResizeImage"),
            (
                "- ResizeImage: {size: [8, 8]}\n- ToCHWImage:\n",
                r"gives \[3, 8, 8\], .* \[3, 4, 4\]; correct the sizes",
            ),
            (
                "- ResizeImage: {size: [4, 4]}\n",
                r"gives \[4, 4, 3\], .* \[3, 4, 4\]; end transform_ops with ToCHWImage",
            ),
        ],
    )
    def test_wrong_preprocessing_is_found_at_conversion(
        self, make_export: MakeExport, tmp_path: Path, text: str, cause: str
    ) -> None:
        ops = tmp_path / "ops.yml"
        ops.write_text(text)
        with pytest.raises((ConversionError, BundleError), match=cause):
            convert(ConvertOptions(make_export(), tmp_path / "out", Overrides(preprocess=str(ops))))
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("layout", ["pdmodel", "fluid", "pir"])
    def test_fractions_for_a_feed_of_bytes(
        self, make_export: MakeExport, tmp_path: Path, layout: str
    ) -> None:
        """test_onnx_graph.py has the same of ONNX."""
        export = make_export(layout, feed_type="t_ui8" if layout == "pir" else 20)
        cause = r"gives fractions from -1 to 1, .* 'x' takes .* 0 to 255 \(uint8\)"
        with pytest.raises(ConversionError, match=cause):
            convert(ConvertOptions(export, tmp_path / "out"))
        assert not (tmp_path / "out").exists()
        (served,) = {
            answer["note"]
            for answer in inspect_folder(export)["served_by"].values()
            if "fractions" in answer["note"]
        }
        assert served.startswith("preprocessing gives fractions from -1 to 1")
        ops = tmp_path / "ops.yml"
        ops.write_text("- ResizeImage: {size: [4, 4]}\n- ToCHWImage:\n")
        bundle = convert(ConvertOptions(export, tmp_path / "out", Overrides(preprocess=str(ops))))
        assert bundle.model_config.feeds[0].dtype == "uint8"
        assert inspect_folder(bundle.path)["served_by"]["Paddle 3.x"]["serves"]

    @pytest.mark.parametrize("planes", [True, False])
    def test_a_model_of_grey_images(self, tmp_path: Path, planes: bool) -> None:
        shape = (1, 8, 8) if planes else (8, 8, 1)
        config = ModelConfig(
            (TensorSpec("x", "x", "float32", shape),), (TensorSpec("y", "y", "float32", (3,)),)
        )
        steps = [TransformOp("ResizeImage", {"size": [8, 8]})]
        steps += [TransformOp("ToCHWImage", {})] if planes else []
        with pytest.raises(ConversionError, match="begin transform_ops with Grayscale"):
            try_preprocessing(InferenceDescription("", tuple(steps)), config, warn=print)
        steps.insert(0, TransformOp("Grayscale", {}))
        try_preprocessing(InferenceDescription("", tuple(steps)), config, warn=print)

    def test_preprocessing_from_a_pipe(self, make_export: MakeExport, tmp_path: Path) -> None:
        """As a shell makes one of <(...)."""
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        text = "- ResizeImage: {size: [4, 4]}\n- ToCHWImage:\n"
        writer = threading.Thread(target=pipe.write_text, args=(text,), daemon=True)
        writer.start()
        overrides = Overrides(preprocess=str(pipe))
        bundle = convert(ConvertOptions(make_export(), tmp_path / "out", overrides))
        writer.join(timeout=PATIENCE_S)
        assert [op.name for op in bundle.description.transform_ops] == ["ResizeImage", "ToCHWImage"]

    def test_an_unknown_preset_names_the_known_ones(
        self, make_export: MakeExport, tmp_path: Path
    ) -> None:
        export = make_export()
        for typed in "imagenet", "ImageNet224":
            with pytest.raises(
                ConversionError, match=r"paddleocr-cls\); did you mean imagenet-224\?"
            ):
                convert(ConvertOptions(export, tmp_path / "out", Overrides(preprocess=typed)))
        with pytest.raises(ConversionError, match=r"preset \(imagenet-224, .*paddleocr-cls\)$"):
            convert(ConvertOptions(export, tmp_path / "out", Overrides(preprocess="none.yml")))

    @pytest.mark.parametrize("topk", [0, -1, 4])
    def test_topk_must_be_possible(
        self, make_export: MakeExport, tmp_path: Path, topk: int
    ) -> None:
        with pytest.raises(ConversionError, match="from 1 to the number of classes, 3"):
            convert(ConvertOptions(make_export(), tmp_path / "out", Overrides(topk=topk)))


class TestOutput:
    """The output appears whole or not at all."""

    def test_an_existing_bundle_needs_force(self, make_export: MakeExport, tmp_path: Path) -> None:
        export, output = make_export(), tmp_path / "out"
        convert(ConvertOptions(export, output))
        (output / "README.md").write_text("the user's own")
        (output / "serving_server" / "stale").write_text("of the old model")
        with pytest.raises(ConversionError, match="--force"):
            convert(ConvertOptions(export, output))
        bundle = convert(ConvertOptions(export, output, Overrides(topk=1), force=True))
        assert bundle.description.topk == 1
        assert (output / "README.md").read_text() == "the user's own"
        assert not (output / "serving_server" / "stale").exists()
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

    def test_a_failed_conversion_leaves_the_old_bundle(
        self, make_export: MakeExport, tmp_path: Path
    ) -> None:
        export, output = make_export(), tmp_path / "out"
        convert(ConvertOptions(export, output))
        before = (output / "bundle.yml").read_bytes()
        (export / "inference.pdiparams").write_bytes(b"")
        with pytest.raises(ConversionError):
            convert(ConvertOptions(export, output, force=True))
        assert (output / "bundle.yml").read_bytes() == before
        load_bundle(output)

    def test_force_does_not_replace_what_is_no_bundle(
        self, make_export: MakeExport, tmp_path: Path
    ) -> None:
        (tmp_path / "precious").mkdir()
        (tmp_path / "precious" / "thesis.tex").write_text("years of work")
        with pytest.raises(ConversionError, match="is no bundle"):
            convert(ConvertOptions(make_export(), tmp_path / "precious", force=True))
        (tmp_path / "file").write_text("")
        with pytest.raises(ConversionError, match="is no folder"):
            convert(ConvertOptions(make_export("pir"), tmp_path / "file", force=True))

    def test_an_empty_folder_is_taken(self, make_export: MakeExport, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        convert(ConvertOptions(make_export(), tmp_path / "out"))
        load_bundle(tmp_path / "out")

    @pytest.mark.parametrize("inside", [".", "bundle", "deep/er"])
    def test_not_inside_the_export(self, make_export: MakeExport, inside: str) -> None:
        export = make_export()
        with pytest.raises(ConversionError, match="inside the export"):
            convert(ConvertOptions(export, export / inside, force=True))

    def test_not_around_the_export(self, make_export: MakeExport, tmp_path: Path) -> None:
        with pytest.raises(ConversionError, match="holds the export"):
            convert(ConvertOptions(make_export(), tmp_path, force=True))
        assert (tmp_path / "export/pdmodel/inference.pdmodel").is_file()


class TestSeveralOutputs:
    """With several outputs, the one called prediction answers: the softmax, where there is one."""

    @pytest.fixture
    def export(self, paddle_export: Callable[[str], Path]) -> Path:
        return paddle_export("two outputs")

    def test_the_softmax_answers_and_others_keep_their_names(
        self, export: Path, tmp_path: Path
    ) -> None:
        bundle = convert(ConvertOptions(export, tmp_path / "out"))
        logits, scores = bundle.model_config.fetches
        assert (logits.alias, scores.alias) == (logits.name, "prediction")
        assert bundle.output_activation == "softmax"
        assert load_bundle(bundle.path).model_config.answering == 1

    def test_aliases_that_hide_the_softmax(self, export: Path, tmp_path: Path) -> None:
        aliases = ("logits", "scores")
        with pytest.raises(ConversionError, match="--fetch-alias logits,prediction"):
            convert(ConvertOptions(export, tmp_path / "out", fetch_aliases=aliases))
        # as 0.9 named them, in whose bundles nothing is called prediction
        known = shutil.copytree(export, tmp_path / "known")
        config = preview(export)
        fetches = [
            replace(spec, alias=alias) for spec, alias in zip(config.fetches, aliases, strict=True)
        ]
        write_model_config(replace(config, fetches=tuple(fetches)), known, "serving_server_conf")
        with pytest.raises(ConversionError, match="--fetch-alias logits,prediction"):
            convert(ConvertOptions(known, tmp_path / "out"))

    @pytest.mark.parametrize(
        ("aliases", "activation"),
        [(("logits", "prediction"), "softmax"), (("prediction", "probability"), "none")],
    )
    def test_the_prediction_counts(
        self, export: Path, tmp_path: Path, aliases: tuple[str, str], activation: str
    ) -> None:
        overrides = Overrides(logits=activation == "none")
        bundle = convert(ConvertOptions(export, tmp_path / "out", overrides, fetch_aliases=aliases))
        record = yaml.safe_load((bundle.path / "bundle.yml").read_text(encoding="utf-8"))
        assert record["model"]["output_activation"] == activation
        assert record["model"]["fixed_batch"] == 2
        assert bundle.model_config.feeds[0].shape == (3, 4, 4)

    def test_an_alias_given_twice(self, export: Path, tmp_path: Path) -> None:
        with pytest.raises(ConversionError, match="'a' is given twice"):
            convert(ConvertOptions(export, tmp_path / "out", fetch_aliases=("a", "a")))
