"""The recipe of a run: all its settings besides data and network, and its learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from .augmentation import Augmentation
from .errors import DataError
from .normalization import IMAGENET, Normalization

# Their builders are in optimizer.py: importing this module does not import Paddle.
OPTIMIZERS = ("adamw", "momentum", "nadam")

_RANGES = {
    "epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "size": (8, math.inf),
    "test_resize": (8, math.inf),
    "test_size": (8, math.inf),
    "learning_rate": (0, math.inf),
    "head_factor": (0, math.inf),
    "weight_decay": (0, math.inf),
    "warm_up_epochs": (0, math.inf),
    "rotation": (0, 180),
    "plain_epochs": (0, math.inf),
    "early_stop": (0, math.inf),
    "label_smoothing": (0, 1),
    "mixup": (0, 1),
    "cutmix": (0, 1),
    "balance": (0, 1),
    "ema": (0, 1),
    "min_area": (0.01, 1),
    "aspect": (1, 10),
    "colour": (0, 1),
    "erase": (0, 1),
    "seed": (0, math.inf),
}


@dataclass(frozen=True)
class Recipe:
    """All settings of a run besides the data and the network.

    `size` is the side of training views, `test_resize` the short side before `test_size` is cut
    out of the middle; `mixup`, `cutmix` and `erase` are probabilities; `rotation` is in degrees,
    `colour` the largest relative change, `aspect` the largest stretch; `balance` 0 draws images
    as they are, 1 classes equally; `head_factor` times the learning rate is the last layer's;
    `plain_epochs` at the end do without mixing; `drop_epochs` are those where the rate falls to a
    tenth; `early_stop` epochs without a better validation end a run (0: never).
    """

    epochs: int = 40
    batch_size: int = 32
    size: int = 192
    test_resize: int = 256
    test_size: int = 224
    learning_rate: float = 0.015
    head_factor: float = 1.0
    weight_decay: float = 1e-4
    warm_up_epochs: float = 2.0
    label_smoothing: float = 0.1
    mixup: float = 0.2
    cutmix: float = 0.2
    balance: float = 0.5
    ema: float = 0.998
    min_area: float = 0.3
    aspect: float = 4 / 3
    rotation: float = 20.0
    horizontal_flip: bool = True
    vertical_flip: bool = True
    quarter_turns: bool = False
    colour: float = 0.3
    erase: float = 0.25
    mean: tuple[float, ...] = IMAGENET.mean
    std: tuple[float, ...] = IMAGENET.std
    plain_epochs: int = 3
    optimizer: str = "momentum"
    drop_epochs: tuple[int, ...] = ()
    early_stop: int = 0
    seed: int = 0

    def check(self) -> None:
        """Refuse numbers that make a run impossible.

        Raises:
            DataError: the first such number, by its flag.
        """
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                limits = f"from {low} on" if high == math.inf else f"from {low} to {high}"
                raise DataError(f"--{name.replace('_', '-')} {value} must be {limits}")
        drops = self.drop_epochs
        if drops and (drops[0] < 1 or any(b <= a for a, b in pairwise(drops))):
            raise DataError(f"--drop-epochs {' '.join(map(str, drops))} must rise, from 1 on")
        if self.mixup + self.cutmix > 1:
            raise DataError("--mixup and --cutmix are chances of one batch: together 1 at most")
        if self.test_size > self.test_resize:
            raise DataError(
                f"--test-size {self.test_size} cannot be cut out of a short side of "
                f"{self.test_resize}"
            )
        if not (min(self.mean) >= 0 and max(self.mean) <= 1 and 0 < min(self.std) <= 1):
            raise DataError("--mean and --std are of images in 0..1; divide those of 0..255")

    @property
    def normalization(self) -> Normalization:
        """Mean and deviation as the images are normalised with them."""
        return Normalization(self.mean, self.std)

    @property
    def augmentation(self) -> Augmentation:
        """How the images are changed in training."""
        return Augmentation(
            self.size,
            min_area=self.min_area,
            aspect=self.aspect,
            rotation_deg=self.rotation,
            horizontal_flip=self.horizontal_flip,
            vertical_flip=self.vertical_flip,
            quarter_turns=self.quarter_turns,
            colour=self.colour,
            erase=self.erase,
            fill=self.mean,
        )

    def learning_rate_at(self, step: int, steps_per_epoch: int) -> float:
        """Return the rate of a step: linear warm-up, then half a cosine to a hundredth.

        With `drop_epochs` it stays instead, and falls to a tenth where each of them begins.
        """
        warm_up = self.warm_up_epochs * steps_per_epoch
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        if self.drop_epochs:
            drops = sum(step >= epoch * steps_per_epoch for epoch in self.drop_epochs)
            return float(self.learning_rate * 0.1**drops)
        total = self.epochs * steps_per_epoch
        done = min(1.0, (step - warm_up) / max(1.0, total - warm_up))
        return self.learning_rate * max(0.01, (1 + math.cos(math.pi * done)) / 2)
