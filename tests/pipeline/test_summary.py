"""The start-up block warns where the largest images cannot be answered in time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.engine.work import FACT, misfit
from pipeline.hosts.ports import Addresses
from pipeline.settings.config import load_settings
from pipeline.settings.engine import EngineSettings
from pipeline.settings.op import DEFAULT_TIMEOUT_MS
from pipeline.settings.tuned import DEFAULT_BATCH_SIZE
from pipeline.stages.decode import DEFAULT_MAX_PIXELS
from pipeline.summary import summary

CONFIG = """
http_port: 0
op:
  waste: {{timeout: {timeout}, concurrency: 2, local_service_conf: {{model_config: model}}}}
"""


@dataclasses.dataclass
class Engine:
    facts: dict[str, Any]
    size: int = 2


@pytest.mark.parametrize(("timeout", "warns"), [(10_000, False), (1000, True)])
def test_images_that_do_not_fit_the_timeout_are_a_warning(
    tmp_path: Path, timeout: int, warns: bool
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "config.yml").write_text(CONFIG.format(timeout=timeout), encoding="utf-8")
    settings = load_settings(tmp_path / "config.yml")
    addresses = Addresses("127.0.0.1", 1, None, None, tls=False, admin=None)
    block = summary(settings, {"waste": Engine({FACT: 0.0044})}, addresses, "ready")
    assert ("    warning" in block) is warns
    if warns:
        assert "8 PNGs of 50 megapixels take about 2.6 s on 2 workers, and timeout is 1 s" in block
        assert "set timeout higher, or max_image_pixels or batch_size lower" in block


def test_the_name_of_a_model_is_one_line_without_escapes_for_a_terminal(tmp_path: Path) -> None:
    """Its description may be a stranger's."""
    (tmp_path / "model").mkdir()
    (tmp_path / "config.yml").write_text(CONFIG.format(timeout=1000), encoding="utf-8")
    settings = load_settings(tmp_path / "config.yml")
    addresses = Addresses("127.0.0.1", 1, None, None, tls=False, admin=None)
    plain, evil = (
        summary(settings, {"waste": Engine({"model": name})}, addresses, "ready")
        for name in ("m", "m\x1b]0;title\x07\n  health  http://evil\u202e")
    )
    assert evil.count("\n") == plain.count("\n")
    assert r"m\u001b]0;title\u0007\u000a  health  http://evil\u202e, " in evil


def test_each_of_the_keys_mends_it() -> None:
    facts = {FACT: 0.0044}
    slow = EngineSettings(timeout_s=1.0)
    assert misfit(facts, slow, 2) is not None
    for better in ({"timeout_s": 3.0}, {"batch_size": 2}, {"max_image_megapixels": 10.0}):
        assert misfit(facts, dataclasses.replace(slow, **better), 2) is None
    assert misfit(facts, slow, 8) is None
    assert misfit({}, slow, 2) is None  # a classifier that was not measured


@pytest.mark.parametrize("name", ["garbage265", "garbage40", "peach4", "steel6", "waste", "waste4"])
def test_no_deployment_of_ours_is_warned_of_on_two_slow_cores(root: Path, name: str) -> None:
    op = yaml.safe_load((root / "configs" / f"{name}.yml").read_text(encoding="utf-8"))["op"][name]
    settings = EngineSettings(
        batch_size=op["batch_size"] or DEFAULT_BATCH_SIZE,
        timeout_s=op.get("timeout", DEFAULT_TIMEOUT_MS) / 1000,
        max_image_megapixels=op.get("max_image_pixels", DEFAULT_MAX_PIXELS) / 1e6,
    )
    assert misfit({FACT: 3 * 0.0044}, settings, 2) is None
