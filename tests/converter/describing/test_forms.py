"""The table of description forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundle import BundleError
from converter.describing.form import Source
from converter.describing.forms import FORMS, read_description

STEPS = [{"ToCHWImage": None}]
DOCUMENTS: dict[str, Any] = {
    "inference.yml": {"PreProcess": {"transform_ops": STEPS}, "PostProcess": {"Topk": {}}},
    "model.yml": {"Transforms": []},
    "inference_cls.yaml": {
        "PreProcess": {"transform_ops": STEPS},
        "PostProcess": {"Topk": {"class_id_map_file": "labels.txt"}},
    },
    "infer_cfg.yml": {"Preprocess": [{"type": "Permute"}], "arch": "PPLCNet"},
    "preprocessor_config.json": {"image_processor_type": "ViTImageProcessor", "size": 224},
    "timm's config.json": {"architecture": "resnet18", "pretrained_cfg": {"mean": [0, 0, 0]}},
    "Ultralytics' metadata.yaml": {"task": "classify", "names": {0: "a"}, "imgsz": [32, 32]},
    "PaddleOCR's inference.yml": {
        "PreProcess": {"transform_ops": STEPS},
        "PostProcess": {"name": "ClsPostProcess"},
    },
    "a training YAML": {"Infer": {"transforms": STEPS}},
    "a transform_ops list": STEPS,
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.title)
def test_a_document_is_of_one_form_only(form: Any) -> None:
    document = DOCUMENTS[form.title]
    assert [other.title for other in FORMS if other.recognises(document)] == [form.title]


def test_a_file_of_no_form_is_refused_with_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "other.yml").write_text("a: 1\n")
    with pytest.raises(
        BundleError, match=r"PreProcess \(inference\.yml\), Transforms \(model\.yml\)"
    ):
        read_description(Source(tmp_path / "other.yml"))
