"""The snippets of docs/bundle.md that write a framework's scores run, and the scores are read.

Each is put behind a network that its framework makes here, as a user puts it behind a trained one.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from converter.checking.reference_file import read_reference, rows_by_image
from tests.conformance.frameworks import Frameworks

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
CLASSES = 5

# The network and the imports, which a snippet leaves to its reader.
NETWORKS = {
    "torchvision": f"""
import torch, torchvision
net = torchvision.models.shufflenet_v2_x0_5(num_classes={CLASSES})
""",
    "timm": f"""
import timm, torch
net = timm.create_model("mobilenetv3_small_050", num_classes={CLASSES})
""",
    "Hugging Face": f"""
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor
net = ViTForImageClassification(ViTConfig(
    hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    patch_size=32, num_labels={CLASSES},
))
processor = ViTImageProcessor()
""",
    "Keras": f"""
import keras
net = keras.applications.MobileNetV2(weights=None, classes={CLASSES}, alpha=0.35)
""",
    "Ultralytics": """
from ultralytics import YOLO
net = YOLO("yolo11n-cls.yaml", task="classify")
""",
}


def snippet(framework: str) -> str:
    """The lines under the comment that names a framework, in the block of all frameworks."""
    guide = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8")
    section = guide.partition("### Against the framework's own scores")[2]
    head, scores = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[:2]
    parts = re.split(r"^(?=# )", scores, flags=re.MULTILINE)
    (own,) = [part for part in parts if part.startswith(f"# {framework}")]
    if framework == "torchvision":  # it shares a function with timm, which stands between
        own += parts[parts.index(own) + 1].partition("\n\n\n")[2]
    return f"{head}\n{NETWORKS[framework]}\n{own}\nwrite(score, sys.argv[1])\n"


@pytest.mark.parametrize("framework", NETWORKS)
def test_a_snippet_writes_what_verify_reads(
    frameworks: Frameworks, framework: str, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    (images / "more").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("b.png", "a.jpg", "more/c.jpg"):
        pixels = random.integers(0, 256, (240, 320, 3), np.uint8)
        Image.fromarray(pixels).save(images / name)
    script = tmp_path / "reference.py"
    script.write_text(snippet(framework), encoding="utf-8")
    done = subprocess.run(
        [str(frameworks.python), str(script), str(images)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = read_reference(tmp_path / "scores.npz")
    rows = rows_by_image(found, [str(images / name) for name in ("a.jpg", "b.png", "more/c.jpg")])
    assert len(rows) == 3
    assert np.allclose(found.scores.sum(axis=1), 1, atol=1e-4)
