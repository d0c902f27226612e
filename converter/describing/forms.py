"""The table of description forms. To add one, write its reader in this package and its row here."""

from __future__ import annotations

from bundle.errors import BundleError
from bundle.inference_yml import InferenceDescription

from ..errors import ConversionError
from .document import load_document
from .form import Form, Source
from .huggingface_json import is_huggingface_json, read_huggingface_json
from .inference_yml import is_inference_yml, is_operator_list, read_document, read_operator_list
from .paddleclas_training import is_training_yaml, read_training_yaml
from .paddleclas_yaml import is_deploy_yaml, read_deploy_yaml
from .paddledetection_yml import is_paddledetection_yml, read_paddledetection_yml
from .paddleocr_yml import is_paddleocr_yml, read_paddleocr_yml
from .paddlex_yml import is_paddlex_yml, read_paddlex_yml
from .timm_json import is_timm_json, read_timm_json
from .ultralytics_metadata import is_ultralytics_metadata, read_ultralytics_metadata

FORMS = (
    Form("inference.yml", ("inference.yml",), "PreProcess", is_inference_yml, read_document),
    Form("model.yml", ("model.yml",), "Transforms", is_paddlex_yml, read_paddlex_yml),
    Form(
        "inference_cls.yaml",
        ("inference_cls.yaml",),
        "PreProcess",
        is_deploy_yaml,
        read_deploy_yaml,
    ),
    Form(
        "infer_cfg.yml",
        ("infer_cfg.yml",),
        "Preprocess",
        is_paddledetection_yml,
        read_paddledetection_yml,
    ),
    Form(
        "preprocessor_config.json",
        ("preprocessor_config.json",),
        "image_mean",
        is_huggingface_json,
        read_huggingface_json,
    ),
    Form("timm's config.json", (), "pretrained_cfg", is_timm_json, read_timm_json),
    Form(
        "Ultralytics' metadata.yaml",
        (),
        "task",
        is_ultralytics_metadata,
        read_ultralytics_metadata,
    ),
    Form(
        "PaddleOCR's inference.yml",
        (),
        "PostProcess.name ClsPostProcess",
        is_paddleocr_yml,
        read_paddleocr_yml,
    ),
    Form("a training YAML", (), "Infer", is_training_yaml, read_training_yaml),
    Form(
        "a transform_ops list",
        (),
        "transform_ops",
        is_operator_list,
        read_operator_list,
        any_name=False,
    ),
)
_ONLY = "; only classifiers are served here"
_RETRIEVAL = "image retrieval by PaddleClas, which finds similar images and has no classes" + _ONLY
# Files of the same families that describe no classifier: what they hold -> what they are of.
_OTHERS = {
    "RecPreProcess": _RETRIEVAL,
    "DetPreProcess": "a detector in image retrieval by PaddleClas" + _ONLY,
    "IndexProcess": _RETRIEVAL,
    "Deploy": "a segmentation by PaddleSeg" + _ONLY,
    "base_config_file": "a search over trainings by PaddleClas; give the YAML that it names there",
}


def form_of(document: object) -> Form | None:
    """The form of a loaded document; None if it is of none."""
    return next((form for form in FORMS if form.recognises(document)), None)


def why_not(document: object) -> str | None:
    """Why a loaded document of no form cannot be served, where its family is known."""
    for key, what in _OTHERS.items():
        if isinstance(document, dict) and key in document:
            return f"holds {key}: it is of {what}"
    return None


def read_description(source: Source) -> InferenceDescription:
    """Read a description of any form of the table.

    Raises:
        BundleError: the file is not YAML or JSON, or of no form.
        ConversionError: it is of a form, and cannot be served.
    """
    document = load_document(source.path)
    form = form_of(document)
    if form is None:
        other = why_not(document)
        if other is not None:
            raise ConversionError(f"{source.path}: {other}")
        known = ", ".join(f"{form.key} ({form.title})" for form in FORMS)
        raise BundleError(f"{source.path}: is no description: it holds none of {known}")
    return form.read(document, source)


def read_metadata(source: Source) -> InferenceDescription | None:
    """Read the description that an exporter wrote into the graph; None if there is none.

    Raises:
        ConversionError: it cannot be served.
    """
    metadata = {} if source.graph is None else dict(source.graph.metadata)
    return (
        read_ultralytics_metadata(metadata, source) if is_ultralytics_metadata(metadata) else None
    )
