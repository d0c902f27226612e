"""The facts that `inspect` finds about an export or a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle import Bundle, BundleError, load_bundle
from bundle.formats import GraphFormat
from bundle.inference_yml import InferenceDescription
from bundle.model_config import ModelConfig, TensorSpec

from ..bundling.record import changed_files, read_record
from ..bundling.servable import served_by
from ..bundling.signature import NoAnswerError, answering_scores, model_config, signature
from ..bundling.trial import try_preprocessing
from ..describing.beside import description_beside, label_files_beside
from ..describing.collect import beside_the_model, labels_beside
from ..errors import ConversionError
from ..reading.exported_model import ExportedModel, read_export


def inspect_folder(
    folder: Path, model_file: str | None = None, params_file: str | None = None
) -> dict[str, Any]:
    """Facts about an export or a bundle, ready for JSON.

    Raises:
        ConversionError: the folder holds neither, or its files do not fit together.
        BundleError: the bundle is incomplete or damaged.
    """
    is_bundle = any(
        (folder / name).exists()
        for name in ("serving_server", "serving_server_conf.prototxt", "bundle.yml")
    )
    if not is_bundle:
        return _export_facts(read_export(folder, model_file, params_file))
    if model_file or params_file:
        raise ConversionError(
            f"{folder}: is a bundle; --model-file and --params-file are not for it"
        )
    server = folder / "serving_server" if (folder / "serving_server").is_dir() else folder
    if not (server / "inference.yml").is_file():
        # as 0.9 wrote it: it has feeds and fetches, and no description of preprocessing and labels
        return {**_export_facts(read_export(server)), "kind": "bundle", "path": str(folder)}
    bundle = load_bundle(folder)
    changed = changed_files(bundle.path)
    if changed:
        raise BundleError(
            f"{bundle.path / changed[0]}: is not the file the bundle was made with; convert the"
            " model again"
        )
    return bundle_facts(bundle)


def _export_facts(export: ExportedModel) -> dict[str, Any]:
    try:
        description, unreadable = beside_the_model(export), None
    except (ConversionError, BundleError) as error:
        # the graph can be looked at all the same, and options make up for the description
        description, unreadable = None, " ".join(str(error).split())
    labels = labels_beside(export)
    try:
        count = None if labels is None else len(labels)
        config, undecided = model_config(export, labels=count), None
    except NoAnswerError as error:
        config, undecided = signature(export), str(error)
    facts = _facts("export", export, config, description, undecided)
    return {
        **facts,
        **_label_facts(labels),
        "description_file": _description_file(export),
        "description_error": unreadable,
    }


def _description_file(export: ExportedModel) -> str | None:
    """The name of the file beside an export that was read, or is unreadable."""
    try:
        file = description_beside(export.folder)
    except ConversionError:  # several; the error lists them
        return None
    return None if file is None else file.name


def bundle_facts(bundle: Bundle) -> dict[str, Any]:
    """The same facts about a bundle that is loaded."""
    params = None if bundle.graph.params_file is None else bundle.graph.params_file.name
    export = read_export(bundle.server_dir, bundle.graph.model_file.name, params)
    config = bundle.model_config
    answering = config.fetches[config.answering]
    no_scores = None
    if not answering_scores(config):
        no_scores = f"{answering.name!r} is {answering.dtype} and holds no scores"
    made = tuple(files.graph_format for files in bundle.made.values())
    facts = _facts("bundle", export, config, bundle.description, no_scores, made)
    record = read_record(bundle.path)
    kept = {n: record[n] for n in ("made_by", "source", "options", "forms") if n in record}
    files = {name: facts.get("sha256") for name, facts in record.get("files", {}).items()}
    return {
        **facts,
        "path": str(bundle.path),
        "forms": {
            name: graph.model_file.relative_to(bundle.server_dir).as_posix()
            for name, graph in bundle.forms.items()
        },
        "record": {**kept, "files": files},
    }


def _facts(
    kind: str,
    export: ExportedModel,
    config: ModelConfig,
    description: InferenceDescription | None,
    no_answer: str | None,
    made: Sequence[GraphFormat] = (),
) -> dict[str, Any]:
    """The facts; `no_answer` says why no output can be answered from, `made` are other forms."""
    graph = export.graph
    params = export.params_file
    return {
        "kind": kind,
        "path": str(export.folder),
        "graph_format": export.graph_format.name,
        "written_by": graph.written_by or None,
        "model_file": export.model_file.name,
        "params_file": None if params is None else params.name,
        "parameters": len(graph.parameters),
        "parameter_files": len(export.separate_params),
        "parameter_bytes": _parameter_bytes(export),
        "fixed_batch": graph.fixed_batch,
        "feeds": [_tensor_facts(spec, graph.fixed_batch) for spec in config.feeds],
        "fetches": [_tensor_facts(spec, graph.fixed_batch) for spec in config.fetches],
        "output_activation": None if no_answer else graph.activations[config.answering],
        "output_error": no_answer,
        "scales_pixels": graph.white == 255,
        "white": graph.white,
        "contradiction": _contradiction(kind, graph.activations[config.answering], description),
        "outputs_left_out": list(graph.left_out),
        "description_file": "inference.yml" if kind == "bundle" else None,
        "description_error": None,
        "model_name": (description.model_name or None) if description else None,
        "preprocessing": (
            [{op.name: dict(op.options)} for op in description.transform_ops]
            if description
            else None
        ),
        "answer": _answer(description) if description else None,
        "activation": description.activation if description else None,
        "topk": description.topk if description else None,
        **_label_facts(description.labels if description else None),
        "label_files": [path.name for path in label_files_beside(export.folder)],
        "served_by": _served_by(export, config, no_answer, description, made),
    }


def _contradiction(kind: str, ending: str, description: InferenceDescription | None) -> str | None:
    """What description and graph say against each other; of an export, logits are no fault yet."""
    if description is None or (kind == "export" and not description.multi_label):
        return None
    return description.contradiction(ending) or None


def _label_facts(labels: tuple[str, ...] | None) -> dict[str, Any]:
    if not labels:
        return {"labels": None, "label_names": None}
    return {"labels": len(labels), "label_names": list(labels)}


def _parameter_bytes(export: ExportedModel) -> int:
    files = [export.params_file] if export.params_file else list(export.separate_params)
    if export.graph_format.params_file is None:
        files.append(export.model_file)
    return sum(file.stat().st_size for file in files)


def _answer(description: InferenceDescription) -> str:
    if description.multi_label:
        return f"every label with a score of at least {description.thresholds}"
    if description.positive_threshold is not None:
        labels = description.labels or ()
        first, second = labels if len(labels) == 2 else ("the first label", "the second")
        return f"{second} if its score reaches {description.positive_threshold:g}, else {first}"
    return f"the best {description.topk} labels" if description.topk > 1 else "the best label"


def _tensor_facts(spec: TensorSpec, batch: int | None) -> dict[str, Any]:
    """`shape` holds the batch first; -1 is any size."""
    shape = list(spec.shape) if spec.is_lod else [batch or -1, *spec.shape]
    return {"name": spec.name, "alias": spec.alias, "dtype": spec.dtype, "shape": shape}


def _served_by(
    export: ExportedModel,
    config: ModelConfig,
    no_answer: str | None,
    description: InferenceDescription | None,
    made: Sequence[GraphFormat],
) -> dict[str, dict[str, Any]]:
    """Release of a runtime -> {"serves": bool, "note": str}."""
    notes = served_by(export, config, made)
    hindrance = ""
    if no_answer:
        hindrance = "no output to answer from"
    elif description is not None and not all(notes.values()):
        hindrance = _preprocessing_hindrance(description, config)
    notes = {release: note or hindrance for release, note in notes.items()}
    return {release: {"serves": not note, "note": note} for release, note in notes.items()}


def _preprocessing_hindrance(description: InferenceDescription, config: ModelConfig) -> str:
    try:
        try_preprocessing(description, config, lambda _: None)
    except ConversionError as error:
        return str(error)
    return ""
