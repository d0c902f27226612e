"""Runs an export and its bundle on the same images, and checks that the bundle's files agree.

The export is run plainly: no oneDNN, no graph optimisation, one image at a time. The bundle is
run as the service runs it: optimised, in batches, through the classifier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundle import Bundle, load_bundle
from bundle.forms import EXPORT, FORMS, GraphFiles
from pipeline.classifier import Classifier
from pipeline.predictors import Predictor, PredictorError, PredictorOptions, create_predictor
from pipeline.predictors.registry import choose, load_predictor
from pipeline.stages.errors import PreprocessError

from ..bundling.record import RECORD, changed_files, edited_files, file_facts, read_record
from ..bundling.signature import signature
from ..describing.collect import beside_the_model
from ..errors import ConversionError
from ..reading.exported_model import ExportedModel, read_export
from ..reading.graph_file import inside
from .images import drawn_images, given_images, none_readable
from .scores import BATCH, Differences, compare_scores

DEFAULT_TOLERANCE = 1e-4
_ROUNDING = 1e-3
_PLAIN = PredictorOptions(onednn=False, graph_optim=False, memory_optim=False, form=EXPORT)


@dataclass(frozen=True)
class FormCheck:
    """Another form of the bundle beside the reference.

    `runtime` ran it; "" if none that reads it is installed. An `exact` one must be within the
    tolerance; one of fewer bits is shown only.
    """

    form: str
    runtime: str
    largest_difference: float = 0.0
    largest_at: str = ""
    agreeing: int = 0
    exact: bool = True


@dataclass(frozen=True)
class Verification:
    """What was compared and what came of it.

    Attributes:
        bundle: the bundle's folder.
        files: how many files bundle.yml records; None where there is no record.
        edited: those that are not as it records them: descriptions, which may be edited by hand.
        reference: what the bundle was compared with, and its runtime.
        runtime: what the bundle ran in.
        images: how many were compared.
        unreadable: those that were left out because a service does not take them.
        largest_difference: of one score.
        largest_at: the image it was found on.
        agreeing: images whose best class is the same.
        tolerance: the largest difference allowed.
        distinguishes: the model gives different images different scores.
        scores: their range, and whether those of an image add up to 1.
        contradiction: what the description says against the graph or these scores; "" if nothing.
        forms: what was compared of the bundle's other forms, beside the one that is served.
    """

    bundle: Path
    files: int | None
    edited: tuple[str, ...]
    reference: str
    runtime: str
    images: int
    unreadable: tuple[str, ...]
    largest_difference: float
    largest_at: str
    agreeing: int
    tolerance: float
    distinguishes: bool
    scores: str
    contradiction: str
    forms: tuple[FormCheck, ...] = ()

    @property
    def worst(self) -> float:
        """The largest difference of one score, over the forms that answer as the export does."""
        exact = [check.largest_difference for check in self.forms if check.exact]
        differences = [self.largest_difference, *exact]
        return next(filter(math.isnan, differences), max(differences))

    @property
    def passed(self) -> bool:
        """Whether every score is within the tolerance (never true of a NaN)."""
        return bool(self.worst <= self.tolerance)


def verify(
    bundle_dir: Path,
    *,
    export_dir: Path | None = None,
    images: Path | None = None,
    tolerance: float = DEFAULT_TOLERANCE,
) -> Verification:
    """Compare a bundle with the export it was made from.

    Args:
        bundle_dir: serving_model/NAME.
        export_dir: the export; None: the bundle's own copy of it, which the hashes prove equal.
        images: an image or a folder of images; None: drawn ones.
        tolerance: the largest difference of one score (0..1, or relative to the largest logit).

    Raises:
        ConversionError: files disagree, there is no image, or a runtime fails.
        BundleError: the bundle is incomplete or damaged.
    """
    bundle = checked_bundle(bundle_dir)
    record = read_record(bundle.path)
    if export_dir is None:
        reference, whose = bundle, "the bundle's own copy of the export"
    else:
        reference, whose = _as_bundle(export_dir, bundle, record), f"the export {export_dir}"
    given, unreadable = (drawn_images(), []) if images is None else given_images([images])
    try:
        plain = classifier_of(reference, create_predictor(reference, options=_PLAIN))
        served = classifier_of(*load_predictor(bundle))
        compared = compare_scores(plain, served, given)
        forms = _other_forms(bundle, served.bundle.form, plain, given)
    except PredictorError as error:
        raise ConversionError(f"{bundle_dir}: {error}") from error
    if not compared.largest:
        raise none_readable([*unreadable, *compared.unreadable])
    return Verification(
        bundle=bundle_dir,
        files=len(record.get("files", {})) or None,
        edited=tuple(edited_files(bundle.path)),
        reference=f"{whose}; {plain.predictor.name}, not optimised, one image at a time",
        runtime=f"{served.predictor.name}, as served, in batches of {BATCH}",
        images=len(compared.largest),
        unreadable=(*unreadable, *compared.unreadable),
        largest_difference=compared.largest[compared.largest_at],
        largest_at=compared.largest_at,
        agreeing=compared.agreeing,
        tolerance=tolerance,
        distinguishes=compared.spread > 10 * tolerance,
        scores=_range_of(compared),
        contradiction=_contradiction(bundle, compared),
        forms=forms,
    )


def _other_forms(
    bundle: Bundle, served: str, plain: Classifier, images: Mapping[str, bytes]
) -> tuple[FormCheck, ...]:
    """Compare the forms that are not served here with the reference."""
    checks = []
    for name in bundle.forms:
        if name == served:
            continue
        options = PredictorOptions(form=name)
        exact = FORMS[name].exact
        if not choose(bundle, options=options).runtime.installed():
            checks.append(FormCheck(name, "", exact=exact))
            continue
        classifier = classifier_of(*load_predictor(bundle, options=options))
        found = compare_scores(plain, classifier, images)
        largest, at = (
            (found.largest[found.largest_at], found.largest_at) if found.largest else (0.0, "")
        )
        checks.append(
            FormCheck(name, classifier.predictor.name, largest, at, found.agreeing, exact)
        )
    return tuple(checks)


def _range_of(compared: Differences) -> str:
    add_up = "; those of an image add up to 1" if compared.add_up else ""
    return f"{compared.lowest:.3g} to {compared.highest:.3g}{add_up}"


def _contradiction(bundle: Bundle, compared: Differences) -> str:
    export = read_export(bundle.server_dir, bundle.model_file.name)
    ending = export.graph.activations[bundle.model_config.answering]
    found = bundle.description.contradiction(ending)
    beyond = compared.lowest < -_ROUNDING or compared.highest > 1 + _ROUNDING
    if not found and beyond and bundle.description.activation is None:
        # a custom operator may hide what the graph ends in
        found = bundle.description.contradiction("none")
    return found


def checked_bundle(bundle_dir: Path) -> Bundle:
    """Load a bundle, and check that its files are those it was made with and agree.

    Raises:
        ConversionError, BundleError: one line says which do not.
    """
    bundle = load_bundle(bundle_dir)
    _check_record(bundle)
    _check_signature(bundle, read_export(bundle.server_dir, bundle.model_file.name))
    return bundle


def classifier_of(bundle: Bundle, predictor: Predictor) -> Classifier:
    """Return the classifier of a bundle, its preprocessing compared with the model's feed.

    Raises:
        ConversionError: its description is wrong.
        PredictorError: the model does not take what it gives.
    """
    try:
        classifier = Classifier(bundle, predictor)
        classifier.check_feed()
        return classifier
    except PreprocessError as error:
        raise ConversionError(
            f"{bundle.path}: its description is wrong; preprocessing: {error}; mend it, or convert"
            " the model again"
        ) from error


def _check_record(bundle: Bundle) -> None:
    """Check that every model file of the bundle has the hash that stands in bundle.yml."""
    changed = changed_files(bundle.path)
    if changed:
        raise ConversionError(
            f"{bundle.path / changed[0]}: is not the file the bundle was made with; convert the"
            " model again"
        )


def _check_signature(bundle: Bundle, export: ExportedModel) -> None:
    """Compare names, types and shapes in the prototxt files with the graph's.

    load_bundle has compared the text, the stream and the client's copies.
    """
    config, graph = bundle.model_config, signature(export)
    for side, stated, real in (
        ("feed", config.feeds, graph.feeds),
        ("fetch", config.fetches, graph.fetches),
    ):
        stated_facts = [(spec.name, spec.dtype) for spec in stated]
        real_facts = [(spec.name, spec.dtype) for spec in real]
        if stated_facts != real_facts:
            raise ConversionError(
                f"{bundle.server_dir}: serving_server_conf.prototxt says that the model's {side} is"
                f" {stated_facts}, and the graph has {real_facts}; convert the model again"
            )
        for spec, truth in zip(stated, real, strict=True):
            # 0.9's converter leaves open dimensions out
            shape = tuple(dim for dim in spec.shape if dim != -1)
            if shape != tuple(dim for dim in truth.shape if dim != -1):
                raise ConversionError(
                    f"{bundle.server_dir}: serving_server_conf.prototxt says that {spec.name} is"
                    f" {list(spec.shape)}, and the graph has {list(truth.shape)}; convert the model"
                    " again"
                )


def _recorded_file(bundle: Bundle, source: Mapping[str, Any], name: str) -> str | None:
    """A file of the export, as the record names it: within its folder."""
    value = source.get(name)
    if value is None or (isinstance(value, str) and inside(value)):
        return value
    raise ConversionError(
        f"{bundle.path / RECORD}: source.{name} is {value!r}, and must be the name of a file in the"
        " export; convert the model again, or delete bundle.yml"
    )


def _as_bundle(export_dir: Path, bundle: Bundle, record: Mapping[str, Any]) -> Bundle:
    """The export in a form that runs, prepared as its own description says."""
    source = record.get("source", {})
    named = [_recorded_file(bundle, source, name) for name in ("model_file", "params_file")]
    export = read_export(export_dir, *named)
    if file_facts(export.model_file) != file_facts(bundle.model_file):
        raise ConversionError(
            f"{export.model_file}: is not the graph that the bundle was made from; convert it again"
        )
    description = bundle.description
    if "preprocess" not in record.get("options", {}):
        beside = beside_the_model(export)
        if beside is not None:
            description = replace(description, transform_ops=beside.transform_ops)
    return replace(
        bundle,
        path=export_dir,
        server_dir=export.folder,
        graph=GraphFiles(export.graph_format, export.model_file, export.params_file),
        description=description,
        made={},
    )
