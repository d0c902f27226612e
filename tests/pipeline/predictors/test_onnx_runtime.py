"""What is ONNX Runtime's own; test_contract.py has what every runtime does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bundle import Bundle
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from pipeline.predictors import (
    PredictorError,
    PredictorOptions,
    create_predictor,
    onnx_runtime,
)

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")

needs_build_for_cpu = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this ONNX Runtime is built for GPUs; tests/e2e/test_gpu.py has these cases",
)
MakeBundle = Callable[..., tuple[Bundle, dict[str, np.ndarray]]]


@pytest.fixture
def make_bundle(tmp_path: Path, write_onnx: Callable[..., dict[str, np.ndarray]]) -> MakeBundle:
    def make(**options: object) -> tuple[Bundle, dict[str, np.ndarray]]:
        (tmp_path / "export").mkdir()
        weights = write_onnx(tmp_path / "export" / "net.onnx", **options)
        (tmp_path / "ops.yml").write_text("- ResizeImage: {size: [8, 8]}\n- ToCHWImage:\n")
        (tmp_path / "export" / "labels.txt").write_text("a\nb\nc\n")
        logits = options.get("last", "Softmax") is None
        overrides = Overrides(preprocess=str(tmp_path / "ops.yml"), logits=logits)
        return convert(ConvertOptions(tmp_path / "export", tmp_path / "net", overrides)), weights

    return make


@pytest.fixture
def cpu_as_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU stands in for a GPU: which session is made when, and runs what, is the same on it."""
    monkeypatch.setattr(onnx_runtime, "_CUDA", "CPUExecutionProvider")
    monkeypatch.setattr(onnx_runtime, "_CUDA_OPTIONS", {})


def test_a_model_of_8_bit_pixels_gets_them(make_bundle: MakeBundle) -> None:
    bundle, weights = make_bundle(feed_type="UINT8", last=None)
    batch = np.full((1, 3, 8, 8), 200, np.float32)
    scores = create_predictor(bundle).predict(batch)
    assert np.allclose(scores, 200 * weights["fc.w"].sum(axis=0) + weights["fc.b"], rtol=1e-5)


def test_the_precision_is_that_of_the_export(make_bundle: MakeBundle) -> None:
    with pytest.raises(PredictorError, match="precision fp16 is not set at serving time"):
        create_predictor(make_bundle()[0], "onnxruntime", PredictorOptions(precision="fp16"))


@needs_build_for_cpu
def test_a_build_for_the_cpu_says_so(make_bundle: MakeBundle) -> None:
    bundle, _ = make_bundle()
    with pytest.raises(PredictorError, match=r"GPU is requested .*onnxruntime-gpu"):
        create_predictor(bundle, options=PredictorOptions(device="gpu"))


@needs_build_for_cpu
@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")
def test_it_does_not_compute_on_the_cpu_instead(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle, _ = make_bundle()
    # As the build for GPUs says, whether it finds CUDA or not. What follows is its own: where CUDA
    # cannot be used, the session goes to the CPU and says so in the log.
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    with pytest.raises(PredictorError, match=r"cannot use one.*onnxruntime-gpu\[cuda,cudnn\]"):
        create_predictor(bundle, options=PredictorOptions(device="gpu"))
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("cpu_as_gpu")
@pytest.mark.filterwarnings("ignore:Duplicate provider")
def test_on_a_gpu_a_session_runs_one_size(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: dict[int, set[int]] = {}

    class Recorded(onnxruntime.InferenceSession):
        def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            sizes.setdefault(id(self), set()).update(map(len, feeds.values()))
            return super().run(names, feeds)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recorded)
    bundle, _ = make_bundle()
    batch = np.random.default_rng(1).normal(size=(9, 3, 8, 8)).astype(np.float32)
    right = create_predictor(bundle).predict(batch)
    sizes.clear()
    on_gpu = create_predictor(bundle, options=PredictorOptions(device="gpu"))
    for images in (8, 1, 5, 3, 2, 9, 7, 1, 4, 6):
        assert np.allclose(on_gpu.predict(batch[:images]), right[:images], atol=1e-6)
    assert sorted(map(sorted, sizes.values())) == [[1], [2], [4], [8], [16]]


@pytest.mark.usefixtures("cpu_as_gpu")
@pytest.mark.filterwarnings("ignore:Duplicate provider")
def test_no_later_session_computes_on_the_cpu_instead(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, _ = make_bundle()
    predictor = create_predictor(bundle, options=PredictorOptions(device="gpu"))
    # As when the GPU's memory is full: ONNX Runtime then makes the session for the CPU.
    monkeypatch.setattr(onnx_runtime, "_CUDA", "CUDAExecutionProvider")
    batch = np.zeros((2, 3, 8, 8), np.float32)
    assert predictor.predict(batch[:1]).shape == (1, 3)
    with pytest.raises(PredictorError, match=r"cannot use one.*nvidia-smi"):
        predictor.predict(batch)


@pytest.mark.parametrize(("threads", "spins"), [(1, True), (2, False)])
def test_idle_threads_do_not_spin(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, threads: int, *, spins: bool
) -> None:
    made: list[object] = []

    class Recorded(onnxruntime.InferenceSession):
        def __init__(self, file: str, options: object, **others: object) -> None:
            made.append(options)
            super().__init__(file, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recorded)
    create_predictor(make_bundle()[0], "onnxruntime", PredictorOptions(threads=threads))
    for pool in ("intra_op", "inter_op"):
        key = f"session.{pool}.allow_spinning"
        if spins:
            with pytest.raises(RuntimeError):
                made[0].get_session_config_entry(key)  # type: ignore[attr-defined]
        else:
            assert made[0].get_session_config_entry(key) == "0"  # type: ignore[attr-defined]
