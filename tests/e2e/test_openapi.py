"""The real service does what /openapi.json says: it answers what that allows, refuses the rest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.patience import PATIENCE_S

# Same at every run; more in one place and anew each time: schemathesis run URL --max-examples 5000.
EXAMPLES = 500
HERE = Path(__file__).parent
KEY = "a-key-of-this-test-alone"
SIGN_IN = f"""
[auth.openapi]
bearer = {{ bearer = "{KEY}" }}
header = {{ api_key = "{KEY}" }}
"""


def schemathesis(
    folder: Path, document: str, *options: str, examples: int = EXAMPLES, more: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run it in `folder`, where it leaves what it keeps; `more` is added to its configuration."""
    config = (HERE / "schemathesis.toml").read_text(encoding="utf-8") + more
    config = config.replace("openapi_hooks.py", str(HERE / "openapi_hooks.py"))
    (folder / "schemathesis.toml").write_text(config, encoding="utf-8")
    command = [sys.executable, "-m", "schemathesis.cli", "run", document, "--no-color"]
    choices = ["--max-examples", str(examples), "--generation-deterministic"]
    return subprocess.run(
        [*command, *choices, "--continue-on-failure", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def answered(service: Any) -> dict[str, float]:
    """Requests over HTTP so far, by outcome."""
    lines = httpx.get(f"{service.admin}/metrics", timeout=PATIENCE_S).text
    found = re.findall(r'serving_requests_total\{outcome="(\w+)",protocol="http".*\} (\S+)', lines)
    return {outcome: float(count) for outcome, count in found}


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, KEY], ids=["open", "with API keys"])
def test_the_service_is_as_its_document_says(
    start_any_service: Any, tiny_config: Path, tmp_path: Path, key: str | None
) -> None:
    environment = {"PADDLE_SERVING_KIT_API_KEYS": f"tester: {key}"} if key else {}
    with start_any_service(
        tiny_config, "op.waste.concurrency=1", environment=environment
    ) as service:
        document = f"{service.url}/openapi.json"
        done = schemathesis(tmp_path, document, more=SIGN_IN if key else "")
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        counted = answered(service)
        # It got as far as the model, and it was refused too.
        assert counted["ok"] > 10, counted
        assert counted["invalid_request"] > 10, counted
        assert ("unauthenticated" in counted) == (key is not None)
        assert "internal_error" not in counted
        assert service.stop() == 0
        assert "Traceback" not in "".join(service.err)


@pytest.mark.slow
def test_what_the_document_leaves_out_is_found(tiny: Any, tmp_path: Path) -> None:
    """The run would notice: against a document that promises otherwise it fails."""
    document = httpx.get(f"{tiny.url}/openapi.json", timeout=PATIENCE_S).json()
    del document["paths"]["/{service}/prediction"]["post"]["responses"]["400"]
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    done = schemathesis(tmp_path, str(file), "--url", tiny.url, examples=20)
    assert done.returncode == 1
    # Older releases say "Undocumented HTTP status code".
    assert re.search(r"Undocumented .*status code", done.stdout), done.stdout


def test_the_document_names_what_is_served(tiny: Any) -> None:
    document = httpx.get(f"{tiny.url}/openapi.json", timeout=PATIENCE_S).json()
    operation = document["paths"]["/{service}/prediction"]["post"]
    assert operation["parameters"][0]["schema"]["enum"] == ["waste"]
    assert {"200", "400", "401", "403", "404", "413", "415", "429", "500", "503", "504"} == set(
        operation["responses"]
    )
    assert "security" not in operation
