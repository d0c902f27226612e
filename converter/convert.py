"""An export becomes a bundle: read, check, write aside, put in place whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from bundle import Bundle, load_bundle
from bundle.inference_yml import InferenceDescription, write_inference_yml
from bundle.labels import check_count
from bundle.model_config import (
    DTYPE_CODES,
    SCORE_DTYPES,
    ModelConfig,
    TensorSpec,
    read_model_config,
    write_model_config,
)

from .descriptions import Wishes, describe
from .errors import ConversionError
from .exported_model import ExportedModel, read_export
from .graph import GraphTensor
from .output_folder import check_output, staged
from .record import write_record
from .trial import try_preprocessing

# The names serving looks for, per graph format: the graph and the combined parameters.
_FILE_NAMES = {
    "pir": ("inference.json", "inference.pdiparams"),
    "pdmodel": ("inference.pdmodel", "inference.pdiparams"),
    "fluid": ("__model__", "__params__"),
    "onnx": ("inference.onnx", ""),
}
_LARGEST_DIMENSION = 2**31 - 1  # what a prototxt holds


@dataclass(frozen=True)
class ConvertOptions:
    """What a caller asks of a conversion.

    Attributes:
        export_dir: the folder of the exported model.
        output: serving_model/NAME, to be written.
        wishes: labels, preprocessing and the kind of answer, where not as described beside the
            model.
        feed_aliases: one a feed; None: the real input names.
        fetch_aliases: one a fetch; None: "prediction" for the only output that can hold scores,
            and the real names of others.
        model_file: the graph's file in export_dir, where it is not clear.
        params_file: the combined parameter file in export_dir, where it is not clear.
        force: replace an existing bundle.
    """

    export_dir: Path
    output: Path
    wishes: Wishes = field(default_factory=Wishes)
    feed_aliases: tuple[str, ...] | None = None
    fetch_aliases: tuple[str, ...] | None = None
    model_file: str | None = None
    params_file: str | None = None
    force: bool = False


def convert(options: ConvertOptions) -> Bundle:
    """Convert an exported model.

    Returns:
        The bundle, loaded from its place.

    Raises:
        ConversionError: the export, or what was asked, is wrong; nothing was written.
        BundleError: a description or label file is wrong; nothing was written.
    """
    check_output(options.export_dir, options.output, force=options.force)
    export = read_export(options.export_dir, options.model_file, options.params_file)
    config = model_config(export, options.feed_aliases, options.fetch_aliases)
    description = describe(export, options.wishes, config.answering)
    check_count(description.labels or (), config.classes, _labels_source(options, export))
    try_preprocessing(description, config)
    with staged(options.output) as staging:
        _write(staging, export, description, config, options)
        written = load_bundle(staging)
        # what was copied is a whole model too, in its new place
        read_export(written.server_dir, written.model_file.name)
    return load_bundle(options.output)


def preview(
    export_dir: Path,
    model_file: str | None = None,
    params_file: str | None = None,
    feed_aliases: Sequence[str] | None = None,
    fetch_aliases: Sequence[str] | None = None,
) -> ModelConfig:
    """Feeds and fetches as a bundle would have them; nothing is written.

    Raises:
        ConversionError: as `convert`.
    """
    export = read_export(export_dir, model_file, params_file)
    return model_config(export, feed_aliases, fetch_aliases)


def _write(
    staging: Path,
    export: ExportedModel,
    description: InferenceDescription,
    config: ModelConfig,
    options: ConvertOptions,
) -> None:
    server, client = staging / "serving_server", staging / "serving_client"
    server.mkdir()
    client.mkdir()
    model_name, params_name = _FILE_NAMES[export.graph_format]
    shutil.copyfile(export.model_file, server / model_name)
    if export.params_file is not None:
        shutil.copyfile(export.params_file, server / params_name)
    # an ONNX model names its files from where it lies, a Paddle one from the export's folder
    base = export.model_file.parent if export.graph_format == "onnx" else export.folder
    for file in export.separate_params:
        target = server / file.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)  # a parameter's name may hold slashes
        shutil.copyfile(file, target)
    write_inference_yml(description, server / "inference.yml")
    write_model_config(config, server, "serving_server_conf")
    write_model_config(config, client, "serving_client_conf")
    write_record(staging, export, config.answering, _asked(options))


def _asked(options: ConvertOptions) -> dict[str, object]:
    """What was asked for, for the record."""
    wishes = {wish.name: getattr(options.wishes, wish.name) for wish in fields(options.wishes)}
    asked = {
        **wishes,
        "feed_alias": options.feed_aliases,
        "fetch_alias": options.fetch_aliases,
        "model_file": options.model_file,
        "params_file": options.params_file,
    }
    return {
        name: value for name, value in asked.items() if value is not None and value is not False
    }


def _labels_source(options: ConvertOptions, export: ExportedModel) -> str:
    wishes = options.wishes
    return str(
        wishes.labels or wishes.preprocess or export.description_file or export.label_file or ""
    )


def model_config(
    export: ExportedModel,
    feed_aliases: Sequence[str] | None = None,
    fetch_aliases: Sequence[str] | None = None,
) -> ModelConfig:
    """Feeds and fetches with their aliases.

    Aliases that are not given are those of a serving_server_conf.prototxt beside the model (clients
    of a bundle made by 0.9 know them), else the real names, and "prediction" for the only output
    that can hold scores.

    Raises:
        ConversionError: the number of aliases is not that of the tensors, or one is given twice.
    """
    graph = export.graph
    known_feeds, known_fetches = _known_aliases(export)
    if feed_aliases is None:
        feed_aliases = [known_feeds.get(tensor.name, tensor.name) for tensor in graph.feeds]
    if fetch_aliases is None:
        scores = [tensor.name for tensor in graph.fetches if tensor.dtype in SCORE_DTYPES]
        usual = {scores[0]: "prediction"} if len(scores) == 1 else {}
        if len(graph.fetches) == 1:
            usual = {graph.fetches[0].name: "prediction"}
        fetch_aliases = [
            known_fetches.get(tensor.name, usual.get(tensor.name, tensor.name))
            for tensor in graph.fetches
        ]
    return ModelConfig(
        feeds=_specs(graph.feeds, feed_aliases, "feed"),
        fetches=_specs(graph.fetches, fetch_aliases, "fetch"),
    )


def _known_aliases(export: ExportedModel) -> tuple[Mapping[str, str], Mapping[str, str]]:
    conf = export.folder / "serving_server_conf.prototxt"
    if not conf.is_file():
        return {}, {}
    known = read_model_config(conf)
    return {f.name: f.alias for f in known.feeds}, {f.name: f.alias for f in known.fetches}


def _specs(
    tensors: Sequence[GraphTensor], aliases: Sequence[str], side: str
) -> tuple[TensorSpec, ...]:
    names = [tensor.name for tensor in tensors]
    if len(aliases) != len(names):
        raise ConversionError(
            f"--{side}-alias: {len(aliases)} given, the model has {len(names)}: {', '.join(names)}"
        )
    twice = sorted({alias for alias in aliases if aliases.count(alias) > 1})
    if not all(aliases) or twice:
        what = f"{twice[0]!r} is given twice" if twice else "one is empty"
        raise ConversionError(f"--{side}-alias: {what}; give {len(names)} different names")
    for alias in aliases:
        if not alias.isprintable():  # bytes of a terminal that are no text among them
            raise ConversionError(f"--{side}-alias: {alias!r} is no name; give letters and digits")
    for tensor in tensors:
        if tensor.dtype not in DTYPE_CODES:
            raise ConversionError(
                f"{side} {tensor.name!r} is {tensor.dtype}, which cannot be served"
            )
        if any(dim > _LARGEST_DIMENSION for dim in tensor.shape):
            raise ConversionError(
                f"{side} {tensor.name!r} is {list(tensor.shape)}, which no memory holds; export the"
                " model again"
            )
    # What is a LoD tensor has no batch dimension; -1 is what 0.9 writes for it.
    return tuple(
        TensorSpec(
            name=tensor.name,
            alias=alias,
            dtype=tensor.dtype,
            shape=(-1,) if tensor.is_lod else tensor.shape[1:],
            is_lod=tensor.is_lod,
        )
        for tensor, alias in zip(tensors, aliases, strict=True)
    )
