"""config.yml, with `-o KEY=VALUE` on top, to frozen settings.

    file, overrides -> ConfigTree (`tree`) -> access, keys, ops -> ServiceSettings

An unknown key, a value of the wrong kind, or a file that is missing is a ConfigError that names
the file, the key and what to write instead. Keys that have no effect here are collected in one
warning.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from .access import AccessSettings, access_settings, api_keys
from .api_keys import ApiKey, ApiKeysError
from .checks import service_name
from .cpu import cpu_fingerprint
from .errors import ConfigError
from .machine import Machine
from .op import OpSettings, op_settings
from .paths import Places
from .tree import ConfigTree, read_tree

DEFAULT_QUEUE_SIZE = 256


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The private address; with `optional` the service starts without it if the port is taken."""

    host: str
    port: int
    optional: bool


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Level and form of the log; see `pipeline.observation.logs`."""

    level: str
    form: str


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What one service process listens on and serves; ports are None where not served.

    Attributes:
        source: the configuration's file, as it was given.
        file: the same with all links followed: what was really read.
        in_working_folder: keys whose path was found in the working folder only; a later reading may
            look there too, and no other one.
    """

    source: str
    file: str
    in_working_folder: tuple[str, ...]
    host: str
    http_port: int | None
    rpc_port: int | None
    metrics_port: int | None
    admin: AdminSettings | None
    log: LogSettings
    access: AccessSettings
    api_keys: tuple[ApiKey, ...]
    max_body_bytes: int
    max_images: int
    drain_timeout_s: float
    shutdown_delay_s: float
    keep_alive_s: int
    ops: tuple[OpSettings, ...]
    warning: str | None


def load_settings(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    working: Path | None = None,
    working_keys: Collection[str] | None = None,
    machine: Machine | None = None,
) -> ServiceSettings:
    """Read `path`, apply `overrides` ("op.waste.concurrency=4"), check, and freeze.

    `working` is the working folder, in which paths are looked for last, with `working_keys` only
    those of these keys; None: no path is.

    Raises:
        ConfigError: with the file, the key, and what it should be.
    """
    tree = read_tree(path, overrides, Places(path, working, working_keys))
    values = tree.values
    http_port, rpc_port = _public_ports(tree)
    ops = _ops(tree, machine or Machine())
    access, keys, key_warning = _access(tree)
    dag, log = values["dag"], values["log"]
    warnings = [tree.warning, key_warning, _outside_warning(tree), _memory_warning(tree)]
    warnings += [_tuning_warning(tree, op) for op in ops]
    return ServiceSettings(
        source=str(path),
        file=os.path.realpath(tree.places.file),
        in_working_folder=tuple(key for key, _ in tree.places.from_working_folder),
        host=values["host"],
        http_port=http_port,
        rpc_port=rpc_port,
        metrics_port=dag["prometheus_port"] if dag["enable_prometheus"] else None,
        admin=_admin(tree),
        log=LogSettings(log["level"], log["format"]),
        access=access,
        api_keys=keys,
        max_body_bytes=values["max_body_mb"] * 2**20,
        max_images=values["max_images"],
        drain_timeout_s=float(values["drain_timeout"]),
        shutdown_delay_s=float(values["shutdown_delay"]),
        keep_alive_s=values["keep_alive"],
        ops=ops,
        warning="; ".join(filter(None, warnings)) or None,
    )


def _outside_warning(tree: ConfigTree) -> str | None:
    """Return a warning about paths that come from the working folder."""
    found = tree.places.from_working_folder
    if not found:
        return None
    listed = ", ".join(f"{key} is {path}" for key, path in found)
    return (
        f"{tree.path}: found in the working folder, not beside the configuration: {listed}; write "
        "paths relative to the configuration file, so that every start and reload finds the same"
    )


def _memory_warning(tree: ConfigTree) -> str | None:
    """Return a warning about a limit of all requests that is below that of one."""
    body, inflight = tree.values["max_body_mb"], tree.values["max_inflight_mb"]
    if body <= inflight:
        return None
    return (
        f"{tree.path}: max_inflight_mb is {inflight}, less than max_body_mb; {body} MiB count, so "
        "that one such body fits: lower max_body_mb or raise max_inflight_mb"
    )


def _tuning_warning(tree: ConfigTree, op: OpSettings) -> str | None:
    warning = op.tuning.warning
    return None if warning is None else f"{tree.path}: op.{op.name}: {warning}"


def _public_ports(tree: ConfigTree) -> tuple[int | None, int | None]:
    """Return the HTTP port and the RPC port."""
    http_port, rpc_port = tree.values["http_port"], tree.values["rpc_port"]
    if "rpc_port" not in tree.given:
        # The documented rule of 0.9. An ephemeral HTTP port gives an ephemeral RPC port.
        rpc_port = http_port + 1 if http_port else http_port
    if http_port is None and rpc_port is None:
        raise ConfigError(f"{tree.path}: give http_port, rpc_port or both")
    if http_port and http_port == rpc_port:
        raise ConfigError(
            f"{tree.path}: http_port and rpc_port are both {http_port}; choose two ports"
        )
    return http_port, rpc_port


def _ops(tree: ConfigTree, machine: Machine) -> tuple[OpSettings, ...]:
    names = tuple(tree.values["op"])
    if not names:
        raise ConfigError(
            f"{tree.path}: op holds no service; add one, for example op: {{waste: ...}}"
        )
    for name in tree.given["op"]:
        wrong = service_name(name)
        if wrong is not None:
            raise ConfigError(f"{tree.path}: op: a service is called {name!r}; it must be {wrong}")
    queue_size = tree.values["dag"]["channel_size"] or DEFAULT_QUEUE_SIZE
    cpu = cpu_fingerprint(machine)
    cores = max(1, cpu.cores // len(names))
    return tuple(
        op_settings(tree, name, queue_size=queue_size, cores=cores, cpu=cpu) for name in names
    )


def _access(tree: ConfigTree) -> tuple[AccessSettings, tuple[ApiKey, ...], str | None]:
    try:
        return access_settings(tree.values, tree.find), *api_keys(tree.values, tree.find)
    except (ApiKeysError, ValueError) as error:
        raise ConfigError(f"{tree.path}: {error}") from error


def _admin(tree: ConfigTree) -> AdminSettings | None:
    """Return the admin address; one that the file does not choose is optional."""
    host, port = tree.values["admin"]["host"], tree.values["admin"]["port"]
    chosen = "port" in (tree.given.get("admin") or {})
    if port is None:
        return None
    if not chosen and tree.values["http_port"] == 0:
        port = 0
    return AdminSettings(host, port, optional=not chosen)
