from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.choosing import Chosen
from benchmarks.peers.models import ModelError, find_model
from benchmarks.peers.peer import Setting
from benchmarks.peers.records import Record, Records


def test_the_last_run_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = Records.begin(tmp_path / "results.jsonl", {}, resume=False)
    records.add(Record("embedded", "paddle", "kit", 4, 0, 90.0))
    assert main(["peers", "--show", "--work", str(tmp_path)]) == 0
    assert "90.0" in capsys.readouterr().out


def test_a_wrong_reply_of_our_own_ends_with_1(tmp_path: Path) -> None:
    records = Records.begin(tmp_path / "results.jsonl", {}, resume=False)
    records.add(Record("embedded", "paddle", "kit", 4, 0, 90.0, wrong=1))
    records.add(Record("embedded", "paddle", "mosec", 4, 0, 90.0))
    assert main(["peers", "--show", "--work", str(tmp_path)]) == 1


@pytest.mark.parametrize("option", ["--rounds", "--seconds", "--workers", "--connections"])
def test_numbers_below_1_are_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"error: {option} must be"):
        main(["peers", option, "0", "--work", str(tmp_path)])


def test_a_model_that_is_not_made_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="make deployments ARGS=peach4"):
        find_model("peach4", tmp_path, tmp_path)


def test_a_peer_that_is_not_installed_says_how_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.peers.peer.ROOT", Path("/nowhere"))
    for peer in PEERS.values():
        command = "make paddle-serving-env" if peer.name == "paddle-serving" else "make peers-env"
        assert peer.own or command in peer.missing()


def test_a_chosen_setting_is_kept(tmp_path: Path) -> None:
    chosen = Chosen(tmp_path / "settings.json")
    assert chosen.get("embedded", "paddle", "mosec") is None
    chosen.put("embedded", "paddle", "mosec", Setting(8, 5), {Setting(8, 5): 90.0})
    assert chosen.get("embedded", "paddle", "mosec") == Setting(8, 5)
    chosen.forget()
    assert chosen.get("embedded", "paddle", "mosec") is None
