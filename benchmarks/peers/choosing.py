"""Which batching is best for a peer: measured once for a model and runtime, then kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .peer import Setting


@dataclass(frozen=True)
class Chosen:
    """A file of the choices; delete it, or give `--retune`, to try the settings again."""

    path: Path

    def get(self, model: str, runtime: str, peer: str) -> Setting | None:
        """Return what was chosen earlier."""
        entry = self._read().get(f"{model}/{runtime}/{peer}")
        try:
            return Setting(**entry["best"]) if entry else None
        except (TypeError, KeyError):
            return None  # written by another version

    def put(
        self, model: str, runtime: str, peer: str, best: Setting, tried: Mapping[Setting, float]
    ) -> None:
        """Keep a choice with the rates that it was made by."""
        tree = self._read()
        rates = [{**asdict(setting), "per_s": round(rate, 1)} for setting, rate in tried.items()]
        tree[f"{model}/{runtime}/{peer}"] = {"best": asdict(best), "tried": rates}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(tree, indent=1), encoding="utf-8")

    def forget(self) -> None:
        """Remove all choices."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            tree: dict[str, dict[str, Any]] = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return tree
