"""The training loop: averaged weights, checkpoints, and an evaluation each epoch."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional
from tqdm import tqdm

from tools.accuracy import Report

from .augmentation import balanced_order, mixed
from .curves import draw_curves
from .errors import RunError, WeightsError
from .images import ImageSet
from .optimizer import optimizer_of
from .recipe import Recipe
from .run_record import FILE, RunRecord
from .scoring import evaluate


class Trainer:
    """Trains `network` in place; `average` holds the averaged weights, which are the result.

    The folder of the run gets `last.pdparams` (to resume), `best.pdparams` (averaged weights of the
    best epoch), `final.pdparams` (of the last), `metrics.jsonl` and the report of the best.
    """

    def __init__(
        self,
        network: paddle.nn.Layer,
        recipe: Recipe,
        train: ImageSet,
        val: ImageSet,
        run: Path,
        arch: str = "",
    ) -> None:
        self._network, self._recipe, self._arch = network, recipe, arch
        self._train, self._val, self._run = train, val, run
        self._optimizer = optimizer_of(network, recipe)
        self._average = {k: v.clone() for k, v in network.state_dict().items()}
        self._step = 0
        self._epoch = 0
        self._best = 0.0
        self._best_epoch = 0
        self._lines: list[dict[str, float]] = []

    def resume(self) -> bool:
        """Continue from `last.pdparams`; return whether there is one.

        Raises:
            WeightsError: the run was of another architecture or other classes.
            RunError: `last.pdparams` is damaged.
        """
        path = self._run / "last.pdparams"
        if not path.is_file():
            return False
        try:
            state = paddle.load(str(path))
            _ = state["network"], state["optimizer"], state["average"], state["step"]
        except Exception as error:
            # Paddle passes on the errors of its unpickler, which may be of any kind.
            raise RunError(
                f"{path} is damaged, so the run cannot go on; begin anew in another --run, "
                f"--init {self._run / 'best.pdparams'} keeps what it learned"
            ) from error
        own = {key: list(value.shape) for key, value in self._network.state_dict().items()}
        classes = tuple(state.get("classes", self._train.classes))
        if own != {key: list(value.shape) for key, value in state["network"].items()} or (
            classes != self._train.classes
        ):
            raise WeightsError(
                f"{self._run} was a run of another --arch or other classes ({classes}); "
                "give those, or another --run"
            )
        self._network.set_state_dict(state["network"])
        self._optimizer.set_state_dict(state["optimizer"])
        self._average = {k: v.clone() for k, v in state["average"].items()}
        self._step, self._epoch, self._best = state["step"], state["epoch"], state["best"]
        self._best_epoch = state.get("best_epoch", self._epoch)
        lines = state.get("lines")
        self._lines = _read_lines(self._run / "metrics.jsonl") if lines is None else lines
        return True

    def fit(self) -> Report:
        """Train to the last epoch, or to an early stop; return the report of the best epoch.

        Raises:
            RunError: the loss or a weight is not finite.
        """
        self._run.mkdir(parents=True, exist_ok=True)
        RunRecord(self._recipe, self._arch, self._train.classes).save(self._run / FILE)
        while self._epoch < self._recipe.epochs and not self._waited_in_vain():
            started = time.monotonic()
            loss = self._train_epoch()
            self._epoch += 1
            report = self._evaluate_average()
            self._keep(report, loss, time.monotonic() - started)
        if self._waited_in_vain():
            print(f"stopped: nothing better in {self._recipe.early_stop} epochs")
        _save(self._average, self._run / "final.pdparams")
        self._network.set_state_dict(paddle.load(str(self._run / "best.pdparams")))
        best = self._evaluate()
        best.save(self._run)
        draw_curves(self._run / "metrics.jsonl", self._run / "curves.png")
        return best

    def _train_epoch(self) -> float:
        recipe = self._recipe
        # Seeded by epoch, so that a resumed run draws the same numbers as an uninterrupted one.
        rng = np.random.default_rng((recipe.seed, self._epoch))
        augment, normalised = recipe.augmentation, recipe.normalization
        mixing = self._epoch < recipe.epochs - recipe.plain_epochs
        order = balanced_order(self._train.targets, rng, recipe.balance)
        chunks = np.array_split(order, max(1, round(len(order) / recipe.batch_size)))
        self._network.train()
        losses = []
        with tqdm(chunks, f"epoch {self._epoch + 1}/{recipe.epochs}", mininterval=2) as bar:
            for number, chunk in enumerate(bar):
                # By the steps of this epoch: with `balance` their number differs a little.
                step = self._epoch * len(chunks) + number
                self._optimizer.set_lr(recipe.learning_rate_at(step, len(chunks)))
                images = normalised([augment(self._train.images[i], rng) for i in chunk])
                targets = np.eye(len(self._train.classes), dtype=np.float32)[
                    self._train.targets[chunk]
                ]
                if mixing:
                    images, targets = mixed(images, targets, rng, recipe.mixup, recipe.cutmix)
                losses.append(self._train_step(images, targets))
                if not math.isfinite(losses[-1]):
                    raise self._out_of_bounds(f"the loss is {losses[-1]}")
                bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}")
        # The weights of the last step have not been in any loss yet.
        if not all(bool(paddle.isfinite(value).all()) for value in self._average.values()):
            raise self._out_of_bounds("weights are not numbers any more")
        return float(np.mean(losses))

    def _out_of_bounds(self, what: str) -> RunError:
        return RunError(
            f"{what} in epoch {self._epoch + 1}: training left all bounds; lower --learning-rate "
            f"({self._recipe.learning_rate:g})"
        )

    def _train_step(self, images: np.ndarray, targets: np.ndarray) -> float:
        recipe = self._recipe
        smooth = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / targets.shape[1]
        logits = self._network(paddle.to_tensor(images))
        log_probabilities = functional.log_softmax(logits)
        loss = -(paddle.to_tensor(smooth.astype(np.float32)) * log_probabilities).sum(1).mean()
        loss.backward()
        self._optimizer.step()
        self._optimizer.clear_grad()
        self._step += 1
        self._move_average()
        return float(loss)

    def _move_average(self) -> None:
        """Update the exponential average; its warm-up lets the first weights fade quickly."""
        keep = min(self._recipe.ema, (1 + self._step) / (10 + self._step))
        with paddle.no_grad():
            for name, value in self._network.state_dict().items():
                average = self._average[name]
                average.set_value(average * keep + value * (1 - keep))

    def _evaluate_average(self) -> Report:
        live = {k: v.clone() for k, v in self._network.state_dict().items()}
        self._network.set_state_dict(self._average)
        report = self._evaluate()
        self._network.set_state_dict(live)
        return report

    def _evaluate(self) -> Report:
        recipe = self._recipe
        sizes = recipe.test_resize, recipe.test_size
        return evaluate(self._network, self._val, *sizes, recipe.normalization)

    def _waited_in_vain(self) -> bool:
        wait = self._recipe.early_stop
        return 0 < wait <= self._epoch - self._best_epoch

    def _keep(self, report: Report, loss: float, seconds: float) -> None:
        if report.accuracy > self._best or self._epoch == 1:
            self._best_epoch = self._epoch
        if report.accuracy >= self._best:
            self._best = report.accuracy
            _save(self._average, self._run / "best.pdparams")
        line = {
            "epoch": self._epoch,
            "loss": loss,
            "val": report.accuracy,
            "rate": self._optimizer.get_lr(),
            "seconds": seconds,
        }
        self._lines.append(line)
        state: dict[str, Any] = {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average,
            "step": self._step,
            "epoch": self._epoch,
            "best": self._best,
            "best_epoch": self._best_epoch,
            "classes": list(self._train.classes),
            "lines": self._lines,
        }
        _save(state, self._run / "last.pdparams")
        # All lines each time, from the checkpoint: none is missing if a run is killed here.
        text = "".join(json.dumps(line) + "\n" for line in self._lines)
        part = self._run / "metrics.part.jsonl"
        part.write_text(text, encoding="utf-8")
        part.replace(self._run / "metrics.jsonl")
        print(
            f"epoch {self._epoch}: loss {loss:.4f}, val {report.accuracy:.4f}, "
            f"best {self._best:.4f}, {seconds:.0f} s",
            flush=True,
        )


def _save(state: dict[str, Any], path: Path) -> None:
    """Write a new file and rename it: a run that is killed here still has the file of before."""
    part = path.with_suffix(".part.pdparams")
    paddle.save(state, str(part))
    part.replace(path)


def _read_lines(path: Path) -> list[dict[str, float]]:
    """Return the complete lines of the metrics of an older run, whose checkpoint has none."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue  # the run was killed while it wrote this line
    return lines
