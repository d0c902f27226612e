"""The image's own health check fits the service, whatever that is started with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.settings.config import load_settings


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> str:
    return (root / "Dockerfile").read_text(encoding="utf-8")


def test_it_asks_the_admin_address_of_the_configuration_in_the_image(
    dockerfile: str, root: Path
) -> None:
    found = re.search(r'^CMD \["--config", "(.*)"\]$', dockerfile, re.M)
    assert found is not None
    # Other ports and TLS move nothing.
    for overrides in ((), ("http_port=8443", "rpc_port=8444"), ("http_port=",)):
        admin = load_settings(root / found[1], overrides).admin
        assert admin is not None
        url = f"http://{admin.host}:{admin.port}/health/ready"
        assert re.findall(r"^ENV HEALTH_URL=(.*)$", dockerfile, re.M) == [url]
