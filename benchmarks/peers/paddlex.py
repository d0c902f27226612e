"""PaddleX 3 basic serving: the model packed its way, `paddlex --serve --pipeline FILE`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from bundle import load_bundle

from .peer import Launch, Peer, PeerError, Start

# Which of its classes reads the model; its list of names has no ShuffleNet.
MODEL_NAME = "PP-LCNetV2_base"
GRAPHS = {".json": "inference.json", ".pdmodel": "inference.pdmodel", ".onnx": "inference.onnx"}
ENGINES = {"paddle": "paddle_static", "onnxruntime": "onnxruntime"}


@dataclass(frozen=True)
class PaddleX(Peer):
    """Base64 in JSON, its own preprocessing, no batches; one process with one inference thread."""

    def launch(self, start: Start) -> Launch:
        """Write the model's folder and the pipeline's file, and serve them."""
        folder = start.folder / "model"
        self._pack(start, folder)
        threads = "cpu_threads" if start.runtime == "paddle" else "intra_op_num_threads"
        engine = ENGINES[start.runtime]
        module = {
            "module_name": "image_classification",
            "model_name": MODEL_NAME,
            "model_dir": str(folder),
            "batch_size": 1,
            "topk": 1,
        }
        pipeline = {
            "pipeline_name": "image_classification",
            "engine": engine,
            # It has one process, so that one gets as many threads as the others have workers.
            "engine_config": {threads: start.workers},
            "SubModules": {"ImageClassification": module},
        }
        file = start.folder / "pipeline.yml"
        file.write_text(yaml.safe_dump(pipeline, sort_keys=False), encoding="utf-8")
        command = [str(self.python.with_name("paddlex")), "--serve", "--pipeline", str(file)]
        command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(start.port)]
        own = {"PADDLE_PDX_CACHE_HOME": str(start.folder / "cache")}
        own["OMP_NUM_THREADS"] = str(start.workers)
        own["PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK"] = "True"
        return Launch(command, own, start.folder)

    def _pack(self, start: Start, folder: Path) -> None:
        bundle = load_bundle(start.model.form(start.runtime))
        folder.mkdir(parents=True, exist_ok=True)
        graph = bundle.model_file
        shutil.copy(graph, folder / GRAPHS[graph.suffix])
        if graph.suffix != ".onnx":
            shutil.copy(graph.with_suffix(".pdiparams"), folder / "inference.pdiparams")
        description = graph.parent / "inference.yml"
        if not description.is_file():
            raise PeerError(f"its model folder needs an inference.yml, and {graph.parent} has none")
        tree = yaml.safe_load(description.read_text(encoding="utf-8"))
        tree["Global"] = {"model_name": MODEL_NAME}
        # It knows no activation; the graphs that are measured return probabilities.
        tree["PostProcess"] = {"Topk": tree["PostProcess"]["Topk"]}
        text = yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)
        (folder / "inference.yml").write_text(text, encoding="utf-8")


PADDLEX = PaddleX(
    name="paddlex",
    title="PaddleX serving",
    form="paddlex",
    path="/image-classification",
    package="paddlex",
    environment="build/peers-paddlex-env",
    # It resizes by its own code.
    tolerance=2e-2,
    note="base64 in JSON and its own preprocessing; one process, its threads as many as workers",
)
