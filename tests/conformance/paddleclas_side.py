"""Runs in the environment of `make paddleclas-env`: what PaddleClas' dataset classes give.

Arguments: a checkout of PaddleClas, and a JSON file with a list of datasets as a training YAML has
them. The array of each dataset's first image is written beside that file, as 0.npy, 1.npy ...
"""

import json
import sys
import types
from pathlib import Path

import numpy as np

source, order = sys.argv[1], Path(sys.argv[2])
# Importing the packages themselves would import every loss function, and what those import.
for name in ("ppcls", "ppcls.data"):
    package = types.ModuleType(name)
    package.__path__ = [source + "/" + name.replace(".", "/")]
    sys.modules[name] = package
for name in ("matplotlib", "matplotlib.pyplot"):
    sys.modules[name] = types.ModuleType(name)
sys.path.insert(0, source)

from ppcls.data import dataloader  # noqa: E402

for number, options in enumerate(json.loads(order.read_text())):
    dataset = getattr(dataloader, options.pop("name"))(**options)
    first = dataset[0]
    np.save(order.parent / f"{number}.npy", first[0] if isinstance(first, tuple) else first)
