"""An export becomes a bundle: read, check, write aside, put in place whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bundle.bundle import CLIENT_CONF, SERVER_CONF, Bundle, check_label_count, load_bundle
from bundle.inference_yml import InferenceDescription, write_inference_yml
from bundle.model_config import ModelConfig, TensorSpec, write_model_config

from .descriptions import describe
from .errors import ConversionError
from .exported_model import ExportedModel, read_export
from .graph import GraphTensor
from .output_folder import check_output, staged
from .record import Copied, copy_file, write_record
from .trial import try_preprocessing

# The names serving looks for, per graph format: the graph and the combined parameters.
_FILE_NAMES = {
    "pir": ("inference.json", "inference.pdiparams"),
    "pdmodel": ("inference.pdmodel", "inference.pdiparams"),
    "fluid": ("__model__", "__params__"),
}


@dataclass(frozen=True)
class ConvertOptions:
    """What a caller asks of a conversion.

    Attributes:
        export_dir: the folder of the exported model.
        output: serving_model/NAME, to be written.
        labels: a label file; None: those of the inference.yml beside the model.
        preprocess: a description file or a preset; None: the inference.yml beside the model.
        feed_aliases: one a feed; None: the real input names.
        fetch_aliases: one a fetch; None: "prediction", or the real names of several outputs.
        topk: how many categories an answer holds; None: as described.
        model_file: the graph's file in export_dir, where it is not clear.
        params_file: the combined parameter file in export_dir, where it is not clear.
        force: replace an existing bundle.
    """

    export_dir: Path
    output: Path
    labels: Path | None = None
    preprocess: str | None = None
    feed_aliases: tuple[str, ...] | None = None
    fetch_aliases: tuple[str, ...] | None = None
    topk: int | None = None
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
    description = describe(
        export, labels=options.labels, preprocess=options.preprocess, topk=options.topk
    )
    config = model_config(export, options.feed_aliases, options.fetch_aliases)
    check_label_count(description.labels, config, str(options.labels or export.folder))
    try_preprocessing(description, config)
    with staged(options.output) as staging:
        _write(staging, export, description, config, options)
        load_bundle(staging)
    return load_bundle(options.output)


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
    copied: list[Copied] = [copy_file(export.model_file, server / model_name)]
    if export.params_file is not None:
        copied.append(copy_file(export.params_file, server / params_name))
    for file in export.separate_params:
        # a parameter's name may hold slashes
        copied.append(copy_file(file, server / file.relative_to(export.folder)))
    write_inference_yml(description, server / "inference.yml")
    write_model_config(config, server, SERVER_CONF)
    write_model_config(config, client, CLIENT_CONF)
    asked = {
        "labels": options.labels,
        "preprocess": options.preprocess,
        "feed_alias": options.feed_aliases,
        "fetch_alias": options.fetch_aliases,
        "topk": options.topk,
        "model_file": options.model_file,
        "params_file": options.params_file,
    }
    write_record(staging, export, copied, {k: v for k, v in asked.items() if v is not None})


def model_config(
    export: ExportedModel,
    feed_aliases: Sequence[str] | None = None,
    fetch_aliases: Sequence[str] | None = None,
) -> ModelConfig:
    """Feeds and fetches with their aliases.

    Raises:
        ConversionError: the number of aliases is not that of the tensors, or one is given twice.
    """
    graph = export.graph
    if fetch_aliases is None and len(graph.fetches) == 1:
        fetch_aliases = ("prediction",)
    return ModelConfig(
        feeds=_specs(graph.feeds, feed_aliases, "feed"),
        fetches=_specs(graph.fetches, fetch_aliases, "fetch"),
    )


def _specs(
    tensors: Sequence[GraphTensor], aliases: Sequence[str] | None, side: str
) -> tuple[TensorSpec, ...]:
    names = [tensor.name for tensor in tensors]
    aliases = names if aliases is None else aliases
    if len(aliases) != len(names):
        raise ConversionError(
            f"--{side}-alias: {len(aliases)} given, the model has {len(names)}: {', '.join(names)}"
        )
    if not all(aliases) or len(set(aliases)) != len(aliases):
        raise ConversionError(f"--{side}-alias: aliases must differ and not be empty")
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
