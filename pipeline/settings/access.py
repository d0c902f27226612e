"""The part of the configuration for access: TLS, origins, connections and memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .api_keys import ApiKey, environment_keys, exposure, read_api_keys

Find = Callable[[str, str], Path]  # (path as given, key) -> path


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """PEM files; with `client_ca` each client must show a certificate that it signed."""

    certificate: str
    key: str
    client_ca: str | None


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Fixed while the service runs; sizes in bytes."""

    tls: TlsSettings | None
    cors_origins: tuple[str, ...]
    max_connections: int
    max_inflight_bytes: int


def access_settings(values: Mapping[str, Any], find: Find) -> AccessSettings:
    """Take the settings out of checked values.

    Raises:
        ValueError: half of a pair of files is missing.
    """
    return AccessSettings(
        tls=_tls(values["tls"], find),
        cors_origins=tuple(values["cors_origins"] or ()),
        max_connections=values["max_connections"],
        max_inflight_bytes=values["max_inflight_mb"] * 2**20,
    )


def api_keys(values: Mapping[str, Any], find: Find) -> tuple[tuple[ApiKey, ...], str | None]:
    """Return the keys of the file, else of the environment, and a warning about the file.

    Raises:
        ApiKeysError: they cannot be read.
    """
    if values["api_keys"]:
        path = find(values["api_keys"], "api_keys")
        return read_api_keys(path), exposure(path)
    return environment_keys(), None


def _tls(values: Mapping[str, Any], find: Find) -> TlsSettings | None:
    given = {name: value for name, value in values.items() if value}
    if not given:
        return None
    for name in ("certificate", "key"):
        if name not in given:
            raise ValueError(f"tls.{name} is missing; TLS needs tls.certificate and tls.key")
    files = {name: str(find(value, f"tls.{name}")) for name, value in given.items()}
    return TlsSettings(files["certificate"], files["key"], files.get("client_ca"))
