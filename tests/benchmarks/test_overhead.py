from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

pytest.importorskip("paddle", reason="the service needs the extra cpu or gpu")

from benchmarks.images import image_files
from benchmarks.overhead import STATIONS, Plan, run


@pytest.mark.slow
def test_a_short_run_measures_every_wire_and_its_stations(root: Path) -> None:
    plan = Plan(
        config=root / "configs" / "waste.yml",
        bundle=root / "serving_model" / "waste",
        service="waste",
        images=image_files(root / "examples" / "images", 3),
        rounds=2,
        images_a_turn=4,
    )
    console = Console(record=True, width=100)
    ways = run(plan, console)
    assert set(ways) == {"", "HTTP, raw", "HTTP, JSON", "RPC"}
    assert all((len(way.ms), way.wrong) == (8, 0) for way in ways.values())
    for name, way in ways.items():
        if name:
            # A wait for an idle worker may be none on the loop's clock, which counts milliseconds.
            assert all(way.stations_s[s] > 0 for s in STATIONS if s != "queue")
            assert way.service_cpu_s > 0
            assert way.worker_cpu_s > 0
    shown = console.export_text()
    assert "in process" in shown
    assert "0 wrong" in shown
