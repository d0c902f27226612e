"""A serving bundle: what lies in `serving_server/` and `serving_client/`, loaded and checked.

    serving_model/NAME/
        serving_server/  graph and parameters, inference.yml, serving_server_conf.{,stream.}prototxt
            onnx/        the same graph as ONNX, for faster runtimes (may be missing)
            onnx-int8/   the same with integers of 8 bits, made by `converter tune` (may be missing)
        serving_client/  serving_client_conf.{,stream.}prototxt
        bundle.yml       where it came from (not needed to serve)

A folder that Paddle Serving 0.9's converter wrote is one too, once an inference.yml lies in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Dict, Mapping, Optional, Tuple

from .errors import BundleError
from .formats import GraphFormat, file_patterns, graphs_in
from .forms import EXPORT, FORMS, GraphFiles, made_forms
from .inference_yml import InferenceDescription, read_inference_yml
from .labels import check_count
from .model_config import ModelConfig, read_model_config
from .parameter_file import check_whole
from .strict_yaml import read_yaml

SERVER, CLIENT = "serving_server", "serving_client"
_OUTPUT_ACTIVATIONS = ("softmax", "sigmoid", "log_softmax", "log_sigmoid", "none")
_CONF_ENDS = (".prototxt", ".stream.prototxt")


@dataclass(frozen=True)
class Bundle:
    """One model, ready to serve.

    `output_activation` is "softmax", "sigmoid", their logarithm "log_softmax" or "log_sigmoid", or
    "none" (the scores are raw logits), as found at conversion; None if unknown. `fixed_batch` is
    the only batch size the graph takes, or None.

    A bundle may hold its model in several forms. `graph` is the export's own, unless the bundle
    comes from `of_form`; `made` are the others, each a graph with equal feeds and fetches.
    """

    path: Path
    server_dir: Path
    model_config: ModelConfig
    graph: GraphFiles
    description: InferenceDescription
    output_activation: Optional[str] = None
    fixed_batch: Optional[int] = None
    form: str = EXPORT
    made: Mapping[str, GraphFiles] = field(default_factory=dict)

    @property
    def forms(self) -> Mapping[str, GraphFiles]:
        """Form -> its graph, in the order of `bundle.forms.FORMS`; "export" is always there."""
        graphs = {self.form: self.graph, **self.made}
        return {name: graphs[name] for name in FORMS if name in graphs}

    def of_form(self, name: str) -> Bundle:
        """Return the same bundle whose `graph` is the form `name`.

        Raises:
            BundleError: the bundle does not have it; the text says how to make it.
        """
        graphs = dict(self.forms)
        if name not in FORMS:
            raise BundleError("there is no form {!r}; known: {}".format(name, ", ".join(FORMS)))
        if name not in graphs:
            raise BundleError(
                "{} has no form {!r}, only {}; {}".format(
                    self.path, name, " and ".join(graphs), FORMS[name].made_by.format(self.path)
                )
            )
        graph = graphs.pop(name)
        return replace(self, graph=graph, form=name, made=graphs)

    @property
    def graph_format(self) -> GraphFormat:
        """The graph's row in `bundle.formats`."""
        return self.graph.graph_format

    @property
    def model_file(self) -> Path:
        """The graph's file."""
        return self.graph.model_file

    @property
    def params_file(self) -> Optional[Path]:
        """The combined parameters, or None."""
        return self.graph.params_file

    @property
    def labels(self) -> Optional[Tuple[str, ...]]:
        """The labels in the order of the classes, or None."""
        return self.description.labels

    @property
    def classes(self) -> int:
        """The model's number of classes, or -1 where the graph leaves it open."""
        return self.model_config.classes


def load_bundle(path: Path) -> Bundle:
    """Load `serving_model/NAME`, or its `serving_server` folder.

    Raises:
        BundleError: a file is missing, is not what it should be, or two of them disagree.
    """
    path = Path(path)
    server_dir, record_file = served_paths(path)
    config_file = server_dir / "serving_server_conf.prototxt"
    if not config_file.is_file():
        raise BundleError(
            "{} is no serving bundle (no {}); make one with `python -m converter convert EXPORT "
            "--output serving_model/NAME`".format(server_dir, config_file.name)
        )
    path = record_file.parent
    model_config = read_model_config(config_file)
    if not model_config.feeds or not model_config.fetches:
        raise BundleError("{} has no feed or no fetch; convert it again".format(config_file))
    _check_twins(model_config, server_dir, path / CLIENT)
    record = _read_record(record_file)
    _check_sizes(path, record)
    activation, fixed_batch = _recorded_model(path / "bundle.yml", record)
    graph = find_graph(server_dir)
    bundle = Bundle(
        path=path,
        server_dir=server_dir,
        model_config=model_config,
        graph=graph,
        description=read_inference_yml(server_dir / "inference.yml"),
        output_activation=activation,
        fixed_batch=fixed_batch,
        made=made_forms(server_dir, graph.graph_format),
    )
    if bundle.params_file is not None:
        check_whole(bundle.params_file)
    if bundle.labels is not None:
        check_count(bundle.labels, bundle.classes, str(server_dir / "inference.yml"))
    if bundle.classes > 0:
        bundle.description.check_classes(bundle.classes, str(server_dir / "inference.yml"))
    return bundle


def served_paths(path: Path) -> Tuple[Path, Path]:
    """Return what decides how the bundle at `path` answers: its server folder and its record."""
    server_dir = path / SERVER if (path / SERVER).is_dir() else path
    path = server_dir.parent if server_dir.name == SERVER else path
    return server_dir, path / "bundle.yml"


def find_graph(folder: Path) -> GraphFiles:
    """Return the one graph in `folder`, of any of `bundle.formats`, with its parameters.

    Raises:
        BundleError: no graph, several, or one without its parameters.
    """
    found = graphs_in(folder)
    if not found:
        raise BundleError(
            "{} holds no exported model; looked for {}".format(folder, file_patterns())
        )
    if len(found) > 1:
        raise BundleError(
            "{} holds several models: {}; keep one".format(
                folder, ", ".join(file.name for _, file in found)
            )
        )
    graph_format, model_file = found[0]
    params = graph_format.params_beside(model_file)
    if params is not None and not params.is_file():
        raise BundleError(
            "{} is missing beside {}; copy it from the export".format(params.name, model_file)
        )
    return GraphFiles(graph_format, model_file, params)


def _check_twins(model_config: ModelConfig, server_dir: Path, client_dir: Path) -> None:
    """Compare the configuration with its binary form and with the client's, where they are."""
    twins = [server_dir / "serving_server_conf.stream.prototxt"]
    twins += [client_dir / "serving_client_conf{}".format(end) for end in _CONF_ENDS]
    for twin in twins:
        if twin.is_file() and read_model_config(twin) != model_config:
            raise BundleError(
                "{} disagrees with {} about feeds or fetches; convert the model again".format(
                    twin, server_dir / "serving_server_conf.prototxt"
                )
            )


def _read_record(file: Path) -> Mapping[str, Any]:
    return _mapping(read_yaml(file)) if file.is_file() else {}


def _recorded_model(file: Path, record: Mapping[str, Any]) -> Tuple[Optional[str], Optional[int]]:
    """What the record says of the model, and of nothing else: it may have been edited."""
    model = _mapping(record.get("model"))
    activation, batch = model.get("output_activation"), model.get("fixed_batch")
    if activation is not None and activation not in _OUTPUT_ACTIVATIONS:
        raise BundleError(
            "{}: model.output_activation is {!r}, not one of {}; convert the model again".format(
                file, activation, ", ".join(_OUTPUT_ACTIVATIONS)
            )
        )
    counts = isinstance(batch, int) and not isinstance(batch, bool) and batch > 0
    if batch is not None and not counts:
        raise BundleError(
            "{}: model.fixed_batch is {!r}, not a number of images; convert the model again".format(
                file, batch
            )
        )
    return activation, batch


def _check_sizes(path: Path, record: Mapping[str, Any]) -> None:
    """Compare sizes, not hashes: a start must not read every byte of a model twice."""
    for name, facts in _mapping(record.get("files")).items():
        check_recorded_name(str(name), path / "bundle.yml")
        file, size = path / str(name), _mapping(facts).get("size")
        if not file.is_file():
            raise BundleError("{} is missing from the bundle; convert the model again".format(file))
        # descriptions may be edited by hand, models may not
        edited = file.suffix in (".yml", ".prototxt")
        if not edited and isinstance(size, int) and file.stat().st_size != size:
            raise BundleError(
                "{} has {} bytes, {} when the bundle was made: it is truncated or of another "
                "model; convert the model again".format(file, file.stat().st_size, size)
            )


def check_recorded_name(name: str, record: Path) -> None:
    """Check that a file which the record names lies in the bundle.

    Raises:
        BundleError: it does not.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
        raise BundleError(
            "{} names {!r}, which lies outside of the bundle; convert the model again".format(
                record, name
            )
        )


def _mapping(value: object) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}
