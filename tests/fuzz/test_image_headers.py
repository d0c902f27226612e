"""Headers of images that are changed on purpose: what our guard reads is what the decoder reads."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from pipeline.stages.decode import admitted
from protocol.errors import ServingError

sys.path.insert(0, str(Path(__file__).resolve().parent))
import image_bombs
import image_seeds
from fuzz_targets import MAX_PIXELS, TARGETS

POOL = [*image_seeds.kinds(), *image_bombs.seeds()]
MUTATIONS = 30


@pytest.mark.parametrize("number", range(len(POOL)))
def test_the_guard_and_the_decoder_agree_on_changed_headers(number: int) -> None:
    for attempt in range(MUTATIONS):
        rng = random.Random(1000 * number + attempt)
        data = image_seeds.mutated(POOL[number], rng, POOL)
        try:
            TARGETS["decoder"].run(data)
        except AssertionError as error:
            raise AssertionError(f"{error}: {data.hex()}") from error


def test_the_mutations_reach_the_decoder() -> None:
    """A share of them passes the guard; otherwise the test above compares nothing."""
    passed = 0
    for number, seed in enumerate(POOL):
        data = image_seeds.mutated(seed, random.Random(number), POOL)
        try:
            admitted(data, MAX_PIXELS)
        except ServingError:
            continue
        passed += 1
    assert passed > len(POOL) / 8
