"""An export becomes a bundle: read, check, write aside, put in place whole."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from bundle import Bundle, BundleError, load_bundle
from bundle.inference_yml import InferenceDescription, write_inference_yml
from bundle.labels import check_count
from bundle.model_config import SCORE_DTYPES, ModelConfig, write_model_config
from protocol.escaping import escaped_line

from ..describing.beside import label_files_beside
from ..describing.collect import FoundDescription, collect, labels_beside
from ..describing.overrides import Overrides
from ..describing.results import describe
from ..errors import ConversionError
from ..reading.exported_model import ExportedModel, read_export
from .output_folder import check_output, staged
from .record import write_record
from .servable import check_servable
from .signature import check_scores, model_config
from .trial import try_preprocessing


@dataclass(frozen=True)
class ConvertOptions:
    """What a conversion is given.

    Attributes:
        export_dir: the folder of the exported model.
        output: serving_model/NAME, to be written.
        overrides: labels, preprocessing and the kind of result, where not as described beside the
            model.
        feed_aliases: one a feed; None: the real input names.
        fetch_aliases: one a fetch; None: "prediction" for the output that holds the scores, and the
            real names of others.
        model_file: the graph's file in export_dir, where it is not clear.
        params_file: the combined parameter file in export_dir, where it is not clear.
        force: replace an existing bundle.
    """

    export_dir: Path
    output: Path
    overrides: Overrides = field(default_factory=Overrides)
    feed_aliases: tuple[str, ...] | None = None
    fetch_aliases: tuple[str, ...] | None = None
    model_file: str | None = None
    params_file: str | None = None
    force: bool = False


def _warn(text: str) -> None:
    # on stderr: what was made is the command's output
    sys.stderr.write(f"warning: {escaped_line(' '.join(text.split()))}\n")


def convert(options: ConvertOptions, warn: Callable[[str], None] = _warn) -> Bundle:
    """Convert an exported model.

    Args:
        options: the export, the output, and what to override.
        warn: gets one line on what is odd and prevents nothing.

    Returns:
        The bundle, loaded from its place.

    Raises:
        ConversionError: the export or an option is wrong; nothing was written.
        BundleError: a description or label file is wrong; nothing was written.
    """
    check_output(options.export_dir, options.output, force=options.force)
    export = read_export(options.export_dir, options.model_file, options.params_file)
    check_scores(export)
    found = collect(export, options.overrides, warn)
    config = model_config(
        export, options.feed_aliases, options.fetch_aliases, labels=len(found.labels)
    )
    check_servable(export, config)
    _check_labels(found, config, export.folder)
    activation = export.graph.activations[config.answering]
    description = describe(found, options.overrides, activation, warn)
    try_preprocessing(
        description,
        config,
        warn,
        graph=export.graph,
        given=options.overrides.preprocess,
    )
    with staged(options.output) as staging:
        _write(staging, export, description, config)
        write_record(staging, export, found, config.answering, _given(options))
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
    labels = labels_beside(export)
    count = None if labels is None else len(labels)
    return model_config(export, feed_aliases, fetch_aliases, labels=count)


def _check_labels(found: FoundDescription, config: ModelConfig, folder: Path) -> None:
    try:
        check_count(found.labels, config.classes, str(found.labels_file))
    except BundleError as error:
        message = f"{error}; {_other_labels(found.labels_file, folder)}"
        if sum(fetch.dtype in SCORE_DTYPES for fetch in config.fetches) == 1:
            raise BundleError(message) from error
        raise ConversionError(
            f"{message}; the classes are those of the output"
            f" {config.fetches[config.answering].name!r}: another answers if --fetch-alias calls it"
            " prediction"
        ) from error


def _other_labels(labels_file: Path, folder: Path) -> str:
    beside = [str(path) for path in label_files_beside(folder) if path != labels_file]
    return f"or give others with --labels {' or '.join(beside) if beside else 'FILE'}"


def _write(
    staging: Path, export: ExportedModel, description: InferenceDescription, config: ModelConfig
) -> None:
    server, client = staging / "serving_server", staging / "serving_client"
    server.mkdir()
    client.mkdir()
    graph_format = export.graph_format
    shutil.copyfile(export.model_file, server / graph_format.model_file)
    if export.params_file is not None:
        shutil.copyfile(export.params_file, server / str(graph_format.params_file))
    # a graph that names its parameter files does so from where it lies
    base = export.model_file.parent if graph_format.params_file is None else export.folder
    for file in export.separate_params:
        target = server / file.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)  # a parameter's name may hold slashes
        shutil.copyfile(file, target)
    write_inference_yml(description, server / "inference.yml")
    write_model_config(config, server, "serving_server_conf")
    write_model_config(config, client, "serving_client_conf")


def _given(options: ConvertOptions) -> dict[str, object]:
    """The options that were given, for the record."""
    overrides = options.overrides
    given = {
        **{field.name: getattr(overrides, field.name) for field in fields(overrides)},
        "feed_alias": options.feed_aliases,
        "fetch_alias": options.fetch_aliases,
        "model_file": options.model_file,
        "params_file": options.params_file,
    }
    return {
        name: value for name, value in given.items() if value is not None and value is not False
    }
