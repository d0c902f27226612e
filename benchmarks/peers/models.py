"""The models that are measured, in the form that each runtime reads, and the images to send."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bundle import Bundle, load_bundle
from converter.bundling.convert import ConvertOptions, convert
from converter.reading.exported_model import read_export
from converter.targets.program_writer import write_program

from ..bare import ROOT

EMBEDDED = ROOT / "serving_model" / "waste"
DEPLOYMENTS = {"embedded": "waste", "peach4": "peach4"}
TITLES = {"embedded": "embedded model (ShuffleNetV2)", "peach4": "PP-LCNetV2_base (peach4)"}


class ModelError(Exception):
    """A model cannot be measured; the text says why and what to do."""


@dataclass(frozen=True)
class Model:
    """One model; what is made of it is kept in `folder`."""

    name: str
    bundle: Path
    folder: Path

    @property
    def title(self) -> str:
        """Its name in the table."""
        return TITLES.get(self.name, self.name)

    def form(self, runtime: str) -> Path:
        """Return a bundle for "paddle" (the export's own), "onnxruntime" or "pdmodel" (for 0.9).

        Raises:
            ModelError: it cannot be made.
        """
        if runtime == "paddle":
            return self.bundle
        target = self.folder / runtime
        if not (target / "bundle.yml").is_file():
            shutil.rmtree(target, ignore_errors=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            make = self._make_onnx if runtime == "onnxruntime" else self._make_pdmodel
            made = make(target.with_name(f"{target.name}.part"))
            made.rename(target)
        return target

    def labels(self) -> list[str]:
        """Return the labels of its classes."""
        return list(load_bundle(self.bundle).labels or ())

    def _make_onnx(self, part: Path) -> Path:
        export = part.with_name("export-onnx")
        for folder in (part, export):
            shutil.rmtree(folder, ignore_errors=True)
        options = ["--to", "onnx", "--output", str(export)]
        self._converter("export", str(self.bundle), *options)
        # The source says what the graph returns; in its ONNX a scale by 1 may hide the softmax.
        activation = load_bundle(self.bundle).description.activation
        scores = {"softmax": "--softmax", "sigmoid": "--multi-label"}.get(
            activation or "", "--logits"
        )
        self._converter("convert", str(export), "--output", str(part), scores)
        return part

    def _make_pdmodel(self, part: Path) -> Path:
        source = load_bundle(self.bundle)
        export = part.with_name("export-pdmodel")
        for folder in (part, export):
            shutil.rmtree(folder, ignore_errors=True)
        export.mkdir(parents=True)
        self._write_program(source, export)
        for name in ("inference.pdiparams", "inference.yml"):
            shutil.copy(source.model_file.parent / name, export)
        return convert(ConvertOptions(export, part)).path

    def _write_program(self, source: Bundle, export: Path) -> None:
        target = export / "inference.pdmodel"
        if source.model_file.suffix == ".pdmodel":
            shutil.copy(source.model_file, target)
            return
        read = read_export(source.model_file.parent)
        write_program(read.model_file, read.graph, target)

    def _converter(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "converter", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            last = " ".join(done.stdout.strip().splitlines()[-3:])
            raise ModelError(f"`converter {arguments[0]}` of {self.name} failed: {last}")


def find_model(name: str, bundles: Path, work: Path) -> Model:
    """Return a model by its name: "embedded", a deployment, or the path of a bundle.

    Raises:
        ModelError: its bundle is not there.
    """
    if name == "embedded":
        return Model(name, EMBEDDED, work / name)
    if (Path(name) / "bundle.yml").is_file():
        path = Path(name).resolve()
        return Model(path.name, path, work / path.name)
    for form in ("pdmodel", "pir"):
        path = bundles / f"{name}-{form}"
        if (path / "bundle.yml").is_file():
            return Model(name, path.resolve(), work / name)
    raise ModelError(
        f"there is no bundle of {name} in {bundles}; `make deployments ARGS={name}` makes it"
    )
