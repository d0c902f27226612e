"""timm's config.json and its presets beside timm's own transforms, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from converter.describing.form import Source
from converter.describing.presets import preset
from converter.describing.timm_json import is_timm_json, read_timm_json
from converter.errors import ConversionError
from pipeline.stages.preprocess import build_preprocess
from tests.conformance.frameworks import (
    Case,
    Frameworks,
    check_recorded,
    compare_or_record,
    recorded,
)

HALF = [0.5, 0.5, 0.5]


def cfg(size: list[int], **others: Any) -> dict[str, Any]:
    return {"input_size": [3, *size], **others}


CASES = [
    Case(name, "timm", parameters)
    for name, parameters in {
        "timm-224": cfg([224, 224]),
        "resnet": cfg([224, 224], interpolation="bicubic", crop_pct=0.95),
        "vit": cfg([224, 224], interpolation="bicubic", crop_pct=0.9, mean=HALF, std=HALF),
        "timm:size=384,crop_pct=1,crop_mode=squash,interpolation=bicubic": cfg(
            [384, 384], interpolation="bicubic", crop_pct=1.0, crop_mode="squash"
        ),
        "border": cfg([260, 260], crop_mode="border", crop_pct=0.9, interpolation="bilinear"),
        "timm:size=128,256,crop_pct=0.9": cfg([128, 256], crop_pct=0.9),
        "squash, not square": cfg([128, 256], crop_pct=0.8, crop_mode="squash"),
        "border, not square": cfg([96, 160], crop_pct=1.0, crop_mode="border"),
        "nearest": cfg([64, 64], interpolation="nearest"),
        "lanczos": cfg([64, 64], interpolation="lanczos", crop_pct=0.965),
        "box": cfg([64, 64], interpolation="box"),
        "hamming": cfg([64, 64], interpolation="hamming"),
    }.items()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_timm_as_recorded(case: Case) -> None:
    document = recorded("timm")["documents"][case.name]
    assert is_timm_json(document)
    check_recorded(case, read_timm_json(document, Source(Path("config.json"))).transform_ops)
    if case.name.startswith("timm"):
        operators = preset(case.name)
        assert operators is not None
        check_recorded(case, operators)


@pytest.mark.slow
def test_timm_itself_gives_what_is_recorded(frameworks: Frameworks) -> None:
    compare_or_record(frameworks, CASES)


@pytest.mark.slow
def test_every_model_that_timm_has_weights_for_is_read(frameworks: Frameworks) -> None:
    answers, _ = frameworks.run([Case("all", "timm_catalogue", {}, images=())])
    catalogue = answers["documents"]["all"]
    refused = {}
    for name, values in catalogue.items():
        document = {"architecture": name, "pretrained_cfg": values}
        try:
            read = read_timm_json(document, Source(Path("config.json")))
        except ConversionError as error:
            refused[name] = str(error)
        else:
            build_preprocess(read.transform_ops)
    assert len(catalogue) > 1000
    assert refused == {}
