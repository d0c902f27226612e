"""What a worker answers with, and how it is made from the start message."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, cast

from protocol.envelope import ImageResult

# Encoded picture, topk or None, threshold or None.
Picture: TypeAlias = tuple[bytes, int | None, float | None]


class Answering(Protocol):
    """What a worker runs; `facts` is JSON-able and told in the start-up block and the status."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is served: model, backend, feeds, number of classes."""
        ...

    def answer(self, pictures: Sequence[Picture]) -> Sequence[ImageResult]:
        """Return one result a picture, in order; a bad picture fails alone, as its own result."""
        ...


def build(factory: str, settings_json: str) -> Answering:
    """Call `factory` ("module:function") with the settings."""
    module, _, name = factory.partition(":")
    function = cast(Callable[[str], Answering], getattr(importlib.import_module(module), name))
    return function(settings_json)


def build_classifier(settings_json: str) -> Answering:
    """Build and warm up the classifier that `ClassifierSettings.to_json` described."""
    from ..classifier import ClassifierSettings, EncodedImage, load_classifier

    settings = ClassifierSettings.from_json(settings_json)
    classifier = load_classifier(settings)
    classifier.warm_up(range(1, settings.batch_size + 1))

    class _Answering:
        facts = classifier.facts

        def answer(self, pictures: Sequence[Picture]) -> Sequence[ImageResult]:
            return classifier.classify([EncodedImage(*picture) for picture in pictures])

    return _Answering()
