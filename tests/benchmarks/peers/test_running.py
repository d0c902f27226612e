"""Each peer with its server file and the load generator; `make peers-env` makes what they need."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("paddle", reason="the model needs the extra cpu or gpu")

from benchmarks.bare import BareLimit
from benchmarks.images import image_files
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.models import find_model
from benchmarks.peers.running import start_peer
from benchmarks.peers.turns import Subject, load


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_replies_as_direct_inference_does_after_a_pause(
    name: str, root: Path, tmp_path: Path
) -> None:
    peer = PEERS[name]
    if reason := peer.missing():
        pytest.skip(reason)
    model = find_model("embedded", tmp_path, tmp_path / "models")
    images = image_files(root / "examples" / "images", 4)
    bare = BareLimit(model.bundle, images, 1)
    bare.close()
    subject = Subject(model, images, bare.scores)
    running = start_peer(peer, model, "paddle", 1, peer.settings[-1], tmp_path / "run")
    try:
        running.pause()
        running.resume()
        outcome = load(running, subject, 1.0, 2)
        assert (outcome.wrong, outcome.failed, outcome.errors) == (0, 0, [])
        assert outcome.requests_per_s > 0
        assert running.memory_mib() > 0
    finally:
        running.close()
