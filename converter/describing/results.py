"""What a result of a model holds: the best categories, all above a threshold, or one of two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bundle.inference_yml import InferenceDescription
from bundle.thresholds import DEFAULT_THRESHOLD, Thresholds

from ..errors import ConversionError
from ..reading.activation import LOG_SIGMOID, LOG_SOFTMAX, NONE, SCORES, SIGMOID, SOFTMAX
from .collect import FoundDescription
from .form import DEFAULT_TOPK
from .overrides import Overrides
from .threshold_option import read_threshold_option

_NAMES = {LOG_SOFTMAX: "log-softmax", LOG_SIGMOID: "log-sigmoid"}
_ADDS_UP = "whose scores add up to 1, so at most one class of an image reaches 0.5"
_EXPORT_AGAIN = (
    "export the model again with a sigmoid at its end (PaddleClas adds a softmax, unless it exports"
    " with -o Global.use_multilabel=True)"
)


def describe(
    found: FoundDescription,
    overrides: Overrides,
    activation: str,
    warn: Callable[[str], None],
) -> InferenceDescription:
    """Settle what a result holds.

    Args:
        found: what descriptions and label files say.
        overrides: the options, which win.
        activation: what the output ends in, as `converter.reading.activation` finds it.
        warn: gets one line on what contradicts itself and can be put right.

    Raises:
        ConversionError: options, description and graph contradict one another, or none of them
            says what logits are.
        BundleError: the thresholds are of other classes.
    """
    asked = _Asked(found, overrides, activation)
    asked.check()
    description = asked.decided(warn)
    classes = len(found.labels)
    description.check_classes(classes, asked.described_by)
    return replace(description, topk=_topk(overrides.topk, description, classes))


@dataclass(frozen=True)
class _Asked:
    """What options, description and graph say together."""

    found: FoundDescription
    overrides: Overrides
    activation: str

    @property
    def ending(self) -> str:
        return _NAMES.get(self.activation, self.activation)

    @property
    def multi_label(self) -> bool:
        if self.overrides.multi_label or self.overrides.single_label:
            return self.overrides.multi_label
        # A sigmoid at the end is a model of several labels an image, unless a description says
        # otherwise.
        guessed = self.activation == SIGMOID and not self.found.settled
        return self.found.description.multi_label or guessed

    @property
    def two_classes(self) -> bool:
        """Whether the description decides between two classes, and nothing overrides that."""
        kept = not self.multi_label and not self.overrides.single_label
        return kept and self.found.description.positive_threshold is not None

    @property
    def described_by(self) -> str:
        only_beside = self.overrides.preprocess is None and self.found.file is not None
        return str(self.found.file) if only_beside else "the description"

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ConversionError: saying what, and what to do.
        """
        self._check_options()
        if self.multi_label:
            self._check_multi_label()
        if self.overrides.softmax and (self.activation in SCORES or self.multi_label):
            raise ConversionError(
                "--softmax: the graph ends with a softmax already; leave the option out"
                if self.activation == SOFTMAX
                else "--softmax: the model gives each class a score of its own (sigmoid); leave it"
                " out"
            )
        if self.overrides.softmax and self.activation == LOG_SIGMOID:
            raise ConversionError(f"--softmax: {self._without_logarithm()}")
        if self.overrides.logits and self.activation in SCORES:
            raise ConversionError(
                f"--logits: the graph ends with a {self.ending}, so its scores are no logits; leave"
                " the option out"
            )
        if self._unsaid:
            self._refuse_logits()

    def _check_options(self) -> None:
        given = self.overrides
        exclusive = {
            "--softmax": given.softmax,
            "--multi-label": given.multi_label,
            "--logits": given.logits,
        }
        if sum(exclusive.values()) > 1 or (given.multi_label and given.single_label):
            exclusive["--single-label"] = given.single_label
            named = [option for option, is_given in exclusive.items() if is_given]
            raise ConversionError(f"{' and '.join(named)} exclude one another; give one of them")
        if given.threshold is not None and not self.multi_label and not self.two_classes:
            raise ConversionError(
                "--threshold: belongs to models of several labels an image; give --multi-label, or"
                " set threshold in the service's configuration"
            )

    def _check_multi_label(self) -> None:
        """Refuse several labels an image where the scores cannot be compared with thresholds."""
        by_option = self.overrides.multi_label
        if self.activation in (SOFTMAX, LOG_SOFTMAX):
            fault = f"the graph ends with a {self.ending}, {_ADDS_UP}"
            raise ConversionError(
                f"--multi-label: {fault}; leave it out, or {_EXPORT_AGAIN}"
                if by_option
                else f"{self.described_by}: says that an image may have several labels, and"
                f" {fault}; {_EXPORT_AGAIN}, or give --single-label to serve the best categories"
            )
        if self.activation == LOG_SIGMOID:
            raise ConversionError(self._without_logarithm())
        if self.overrides.logits:
            raise ConversionError(
                "--logits: an image may have several labels, and logits are not compared with a"
                " threshold from 0 to 1; leave it out, for a sigmoid is added"
            )

    def _without_logarithm(self) -> str:
        return (
            "the graph ends with a log-sigmoid, and its scores are logarithms; export the model"
            " with the sigmoid itself, or give --logits to return them as they are"
        )

    @property
    def _unsaid(self) -> bool:
        """Whether neither graph nor description nor options say what becomes of logits."""
        said = self.overrides.softmax or self.overrides.logits or self.multi_label
        return (
            self.activation not in SCORES and not said and self.found.description.activation is None
        )

    def _refuse_logits(self) -> None:
        if self.activation == LOG_SOFTMAX:
            raise ConversionError(
                "the graph ends with a log-softmax, so its scores are logarithms of probabilities;"
                " give --softmax, which makes the probabilities of them, or --logits to return them"
                " as they are"
            )
        if self.activation == LOG_SIGMOID:
            raise ConversionError(self._without_logarithm())
        raise ConversionError(
            "no softmax or sigmoid is found at the graph's end, so its scores are raw logits; say"
            " what becomes of them: --softmax (one label an image: probabilities that add up to 1),"
            " --multi-label (several labels: a sigmoid), or --logits (returned as they are; also"
            " for scores that are probabilities already)"
        )

    def decided(self, warn: Callable[[str], None]) -> InferenceDescription:
        """The description, once nothing contradicts it."""
        description, given = self.found.description, self.overrides
        thresholds, positive = None, description.positive_threshold if self.two_classes else None
        option = given.threshold
        if self.multi_label:
            thresholds = description.thresholds or Thresholds(DEFAULT_THRESHOLD)
            if option is not None:
                thresholds = read_threshold_option(option, self.found.labels)
        elif self.two_classes and option is not None:
            positive = _single(option)
        same_kind = self.multi_label == description.multi_label
        return replace(
            description,
            multi_label=self.multi_label,
            thresholds=thresholds,
            positive_threshold=positive,
            activation=self._added(warn),
            topk=description.topk if same_kind else 0 if self.multi_label else DEFAULT_TOPK,
        )

    def _added(self, warn: Callable[[str], None]) -> str | None:
        """What is applied to the graph's scores; "none": they are returned as they are."""
        if self.overrides.softmax:
            return SOFTMAX
        if self.overrides.logits:
            return NONE
        described = self.found.description.activation
        if self.activation in SCORES:
            if described is not None:
                warn(
                    f"the description says what becomes of logits ({described}), and the graph ends"
                    f" with a {self.ending} already; nothing is added"
                )
            return None
        if self.multi_label and described != NONE:
            return SIGMOID
        return described


def _single(option: float | Path) -> float:
    thresholds = read_threshold_option(option, ())
    if thresholds.default is None or thresholds.by_class:
        raise ConversionError(
            f"--threshold {option}: the model decides between two classes by one threshold; give a"
            " number"
        )
    return thresholds.default


def _topk(given: int | None, description: InferenceDescription, classes: int) -> int:
    if given is not None and not 1 <= given <= classes:
        raise ConversionError(f"--topk {given}: must be from 1 to the number of classes, {classes}")
    return given or min(description.topk, classes)
