"""`python -m tools.evaluation`: how often a model answers labelled images right.

    python -m tools.evaluation DATA --bundle serving_model/waste
    python -m tools.evaluation DATA --url http://127.0.0.1:18080 --service waste
    python -m tools.evaluation DATA --endpoint 127.0.0.1:9993 --service waste
    python -m tools.evaluation DATA --bundle serving_model/waste --thresholds --wanted 0.99

DATA is a folder with a folder per class, a split one (its val is taken), or a list file such as
val_list.txt. A threshold of the service does not apply; --thresholds shows the effect of several.
A threshold chosen on these images should be confirmed on others.

Exit code: 0; 1 if an image failed or the accuracy is below --at-least; 2 with one line on stderr
if the command line is wrong or nothing could be evaluated.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bundle.errors import BundleError
from client.classify_client import ClassifyClient
from client.command import DEFAULT_RETRIES
from client.http_client import HttpClient
from client.rpc_client import RpcClient
from pipeline.predictors import PredictorError
from pipeline.stages.errors import PreprocessError
from protocol.console import as_command
from tools.datasets.errors import DatasetError
from tools.datasets.lists import find_labels
from tools.datasets.workers import default_jobs
from tools.text import printable

from .command_line import WRONG_CALL, command_parser
from .errors import EvaluationError
from .matching import match_classes
from .measures import TOPK, Evaluation
from .models import BundleModel, Model, ServiceModel, labels_of, results_of
from .report import as_json, open_report, print_report, write_report
from .samples import read_samples
from .tables import heading, tables_of
from .thresholds import STEPS, at_threshold, smallest_threshold

GOOD, NOT_GOOD, INTERRUPTED = 0, 1, 130
_ERRORS = (DatasetError, EvaluationError, BundleError, PredictorError, PreprocessError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate what the command line names; return the exit code."""
    options = command_parser(__doc__).parse_args(arguments)
    try:
        evaluation = evaluate(options)
        _report(evaluation, options)
    except _ERRORS as error:
        sys.stderr.write(f"error: {printable(' '.join(str(error).split()))}\n")
        return WRONG_CALL
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; nothing was evaluated\n")
        return INTERRUPTED
    return _verdict(evaluation, options.at_least)


def evaluate(options: argparse.Namespace) -> Evaluation:
    """Classify every image with the model.

    Raises:
        EvaluationError, DatasetError: the images or the model cannot be used; one line says why.
        BundleError, PredictorError, PreprocessError: the bundle cannot be loaded, or does not run.
    """
    dataset, notes = read_samples(options.data, options.split, options.root, options.labels)
    if options.by_number and options.data.is_dir():
        raise EvaluationError("--by-number goes with a list file; give --classes for folders")
    if options.report:
        open_report(options.report)
    with _model(options) as model:
        labels = labels_of(model, [image.path for image in dataset.images])
        # Without label file the names are the numbers already.
        by_number = options.by_number and find_labels(options.data, options.labels) is not None
        class_ids = match_classes(dataset, labels, options.classes, by_number=by_number)
        images = results_of(model, dataset, class_ids, min(TOPK, len(labels)))
    dropped = [name for name, class_id in class_ids.items() if class_id is None]
    if dropped:
        notes.append(f"{options.classes} leaves out the images of {', '.join(dropped)}")
    return Evaluation(dataset.source, model.name, labels, images, tuple(notes))


def _report(evaluation: Evaluation, options: argparse.Namespace) -> None:
    steps = {*(STEPS if options.thresholds else ()), *options.threshold}
    thresholds = [at_threshold(evaluation.predictions, step) for step in sorted(steps)]
    wanted, reached = options.wanted, None
    if wanted is not None:
        reached = smallest_threshold(evaluation.predictions, wanted)
    document = as_json(evaluation, thresholds, wanted, reached)
    head = heading(evaluation)
    tables = list(tables_of(evaluation, thresholds, wanted, reached))
    for note in evaluation.notes:
        sys.stderr.write(f"note: {printable(note)}\n")
    if options.report:
        write_report(options.report, head, tables, document, evaluation)
    if options.json:
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    else:
        print_report(head, tables)


def _verdict(evaluation: Evaluation, at_least: float | None) -> int:
    code = GOOD
    if evaluation.failed:
        sys.stderr.write(
            f"error: {len(evaluation.failed)} of {len(evaluation.images)} images failed and are "
            "not counted; see them above\n"
        )
        code = NOT_GOOD
    accuracy = evaluation.accuracy.value
    if at_least is not None and accuracy < at_least:
        sys.stderr.write(f"error: the accuracy {accuracy:.4f} is below --at-least {at_least:g}\n")
        code = NOT_GOOD
    return code


@contextmanager
def _model(options: argparse.Namespace) -> Iterator[Model]:
    if options.bundle:
        if options.service:
            raise EvaluationError("--service goes with --url or --endpoint; leave it out")
        threads = default_jobs()
        yield BundleModel(options.bundle, batch_size=options.batch_size, threads=threads)
        return
    client: ClassifyClient
    try:
        if options.url:
            client = HttpClient(
                options.url,
                service=options.service,
                timeout_s=options.timeout,
                retries=DEFAULT_RETRIES,
            )
        else:
            client = RpcClient(
                options.endpoint,
                service=options.service,
                timeout_s=options.timeout,
                retries=DEFAULT_RETRIES,
            )
    except ValueError as error:
        raise EvaluationError(str(error)) from error
    with client:
        yield ServiceModel(client, options.url or options.endpoint, jobs=options.jobs)


if __name__ == "__main__":
    sys.exit(as_command(main))
