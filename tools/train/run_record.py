"""The record of a run: recipe, network and classes, in `recipe.json` beside its weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .errors import DataError
from .recipe import Recipe

FILE = "recipe.json"


@dataclass(frozen=True)
class RunRecord:
    """`arch` is of paddle.vision.models, "" where it is not known; so are no `classes`."""

    recipe: Recipe
    arch: str = ""
    classes: tuple[str, ...] = ()

    def save(self, path: Path) -> None:
        """Write it as JSON, with a key for each setting of the recipe."""
        fields_ = {"arch": self.arch, "classes": list(self.classes), **asdict(self.recipe)}
        path.write_text(json.dumps(fields_, indent=1, ensure_ascii=False), encoding="utf-8")

    def require_classes(self, classes: tuple[str, ...], weights: Path) -> None:
        """Check that `weights` were trained on `classes`.

        Raises:
            DataError: they were trained on others, or on the same in another order.
        """
        if self.classes and self.classes != classes:
            raise DataError(
                f"{weights} was trained on the classes {', '.join(self.classes)}, and these are "
                f"{', '.join(classes)}; give the data that it was trained on"
            )


def read_record(path: Path) -> RunRecord:
    """Read what `save` wrote; older files have neither network nor classes.

    Raises:
        DataError: it is damaged.
    """
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        arch, classes = known.pop("arch", ""), known.pop("classes", ())
        return RunRecord(Recipe(**tuples(known)), str(arch), tuple(map(str, classes)))
    except (ValueError, TypeError, AttributeError) as error:
        names = ", ".join(field.name for field in fields(Recipe))
        raise DataError(
            f"{path} is damaged ({error}); it must be a JSON object with some of {names}. Take it "
            "away, and give all flags"
        ) from error


def record_beside(weights: Path) -> RunRecord | None:
    """Return the record of the run that made `weights`, or None.

    The record of an average has its name: soup.json beside soup.pdparams.
    """
    beside = (weights.with_suffix(".json"), weights.parent / FILE)
    return next((read_record(path) for path in beside if path.is_file()), None)


def tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """Return `settings` with tuples for lists, which JSON and the command line have instead."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
