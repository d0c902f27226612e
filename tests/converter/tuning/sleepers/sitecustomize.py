"""Puts the runtimes that SLEEPERS names in place of the registry's, in each Python with this folder
in PYTHONPATH: the command under test and its workers."""

from __future__ import annotations

import os
import sys

import sleeping

from bundle.formats import PDMODEL
from pipeline.predictors import registry

sys.modules["pipeline.predictors.sleeping"] = sleeping


def register(names: str) -> None:
    """Have the registry hold these classes of `sleeping`, in their order, and no more."""
    registry.RUNTIMES.clear()
    for name in names.split(","):
        registry.RUNTIMES[name.lower()] = registry.Runtime(
            name=name.lower(),
            title=name,
            predictor=f"sleeping:{name}",
            package="sleeping",
            formats=(PDMODEL,),
            reads="a sleeper's",
            extras={"cpu": "cpu"},
            precisions={"cpu": ("fp32",)},
        )


register(os.environ["SLEEPERS"])
