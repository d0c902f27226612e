"""`python -m benchmarks.in_process BUNDLE IMAGE...`: the classifier alone, as a worker builds it.

It prints a line of JSON with its scores. Then each line of its input, a number of images, is
answered with the milliseconds that it took for each of them, one by one.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from pathlib import Path

from pipeline.classifier import ClassifierSettings, load_classifier
from pipeline.predictors import PredictorOptions
from protocol.request import EncodedImage


def main(bundle: Path, images: list[Path]) -> None:
    """Answer each input line with a list of milliseconds."""
    options = PredictorOptions(threads=1)
    classifier = load_classifier(ClassifierSettings(str(bundle), predictor=options))
    classifier.warm_up([1])
    encoded = [EncodedImage(image.read_bytes()) for image in images]
    scores = []
    for image in encoded:
        array = classifier.preprocess(classifier.decode(image.data))
        scores.append(classifier.predictor.predict(array[None])[0].tolist())
    print(json.dumps(scores), flush=True)
    endless = itertools.cycle(encoded)
    for line in sys.stdin:
        milliseconds = []
        for image in itertools.islice(endless, int(line)):
            began = time.perf_counter()
            classifier.classify([image])
            milliseconds.append(1e3 * (time.perf_counter() - began))
        print(json.dumps(milliseconds), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
