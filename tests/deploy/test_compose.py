"""The compose file is as strict as SECURITY.md says, and fits the service's own numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.settings.config import load_settings
from pipeline.web.server import SPARE_DESCRIPTORS


@pytest.fixture(scope="module")
def serving(root: Path) -> Any:
    text = (root / "deploy" / "compose.yml").read_text(encoding="utf-8")
    (service,) = yaml.safe_load(text)["services"].values()
    return service


def test_nothing_is_writable_and_no_right_is_left(serving: Any) -> None:
    assert serving["read_only"] is True
    assert serving["tmpfs"] == ["/tmp"]
    assert serving["cap_drop"] == ["ALL"]
    assert serving["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "user", "devices"} & set(serving)
    assert serving["volumes"]
    assert all(mount.endswith(":ro") for mount in serving["volumes"])


def test_its_files_are_here(serving: Any, root: Path) -> None:
    for mount in serving["volumes"]:
        source, target, _ = mount.split(":")
        assert (root / "deploy" / source).is_dir()
        assert target.startswith("/app/")
    assert (root / "deploy" / serving["build"] / "Dockerfile").is_file()
    config = re.fullmatch(r"\$\{CONFIG:-(.*)\}", serving["command"][1])
    assert config is not None
    assert (root / config[1]).is_file()


def test_its_numbers_are_those_of_the_service(serving: Any, root: Path) -> None:
    settings = load_settings(root / "configs" / "waste.yml")
    published = {mapping.split(":")[1] for mapping in serving["ports"]}
    # The admin port stays inside.
    assert published == {str(settings.http_port), str(settings.rpc_port)}
    exposed = re.search(r"^EXPOSE (.*)$", (root / "Dockerfile").read_text(encoding="utf-8"), re.M)
    assert exposed is not None
    assert set(exposed[1].split()) == published
    assert int(serving["stop_grace_period"].rstrip("s")) > settings.drain_timeout_s
    needed = 2 * settings.access.max_connections + SPARE_DESCRIPTORS
    assert serving["ulimits"]["nofile"] >= needed
