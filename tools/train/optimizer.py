"""The optimizer of a recipe."""

from __future__ import annotations

from functools import partial
from typing import Any

import paddle

from .recipe import Recipe

# By the names of `recipe.OPTIMIZERS`.
_BUILDERS: dict[str, Any] = {
    "momentum": partial(paddle.optimizer.Momentum, momentum=0.9, use_nesterov=True),
    "adamw": paddle.optimizer.AdamW,
    "nadam": paddle.optimizer.NAdam,
}


def optimizer_of(network: paddle.nn.Layer, recipe: Recipe) -> paddle.optimizer.Optimizer:
    """Return the optimizer of `network`.

    Biases and norms do not decay; the last layer learns `head_factor` times as fast.
    """
    groups = []
    parameters = list(network.parameters())
    # By group: Paddle sets the rate of each parameter from that of its group at every step.
    for part, rate in ((parameters[:-2], 1.0), (parameters[-2:], recipe.head_factor)):
        for decays, decay in ((True, recipe.weight_decay), (False, 0.0)):
            own = [parameter for parameter in part if (len(parameter.shape) > 1) is decays]
            if own:
                groups.append({"params": own, "weight_decay": decay, "learning_rate": rate})
    return _BUILDERS[recipe.optimizer](recipe.learning_rate, parameters=groups)
