"""config.yml, with `-o KEY=VALUE` on top, to frozen settings.

    file -> mapping -> overrides -> every key checked against config_keys -> ServiceSettings

An unknown key, a value of the wrong kind, or a file that is missing is a ConfigError that names
the file, the key and what to write instead. Keys of Paddle Serving 0.9 that have no effect here
are collected in one warning.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bundle import BundleError
from bundle.labels import read_labels
from bundle.strict_yaml import parse_yaml, read_yaml

from ..classifier import ClassifierSettings
from ..predictors.predictor import PredictorOptions
from .access import AccessSettings, access_settings, api_keys
from .api_keys import ApiKey, ApiKeysError
from .engine import EngineSettings
from .keys import TOP, Key, Section

DEFAULT_TIMEOUT_MS = 10_000
DEFAULT_QUEUE_SIZE = 256


class ConfigError(Exception):
    """The configuration cannot be served; the text names the key and what it should be."""


@dataclass(frozen=True, slots=True)
class OpSettings:
    """One service: its classifier, its engine and where its workers run."""

    name: str
    classifier: ClassifierSettings
    engine: EngineSettings
    devices: tuple[str, ...]  # one a worker: "cpu" or "gpu:1"


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """The private address; with `optional` the service starts without it if the port is taken."""

    host: str
    port: int
    optional: bool


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged, and how; see `pipeline.observation.logs`."""

    level: str
    form: str


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What one service process listens on and serves; ports are None where not served."""

    source: str
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
    ops: tuple[OpSettings, ...]
    warning: str | None


def load_settings(path: Path, overrides: Sequence[str] = ()) -> ServiceSettings:
    """Read `path`, apply `overrides` ("op.waste.concurrency=4"), check, and freeze.

    Raises:
        ConfigError: with the file, the key, and what it should be.
    """
    tree = _read(path)
    for override in overrides:
        _apply(tree, override)
    source = str(path)
    values = _checked(tree, TOP, "", source)
    ignored = tuple(_without_effect(tree, TOP, ""))
    warning = None
    if ignored:
        reasons = "; ".join(f"{name}: {why}" for name, why in ignored)
        warning = f"{source}: accepted without effect ({reasons})"
    return _settings(values, tree, path, warning)


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = read_yaml(path)
    except BundleError as error:
        raise ConfigError(str(error)) from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold keys such as http_port and op")
    return tree


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one `a.b.c=VALUE` in the tree; VALUE is read as YAML."""
    name, equals, raw = override.partition("=")
    parts = name.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"-o {override}: write KEY=VALUE, for example -o op.waste.concurrency=4")
    try:
        value = parse_yaml(raw, override)
    except BundleError as error:
        raise ConfigError(f"-o {override}: the value is not YAML") from error
    if parts[0] == "op" and len(parts) > 2 and parts[1] not in (tree.get("op") or {}):
        known = ", ".join(tree.get("op") or {})
        raise ConfigError(f"-o {override}: no service {parts[1]!r}; there are: {known}")
    for part in parts[:-1]:
        child = tree.setdefault(part, {})
        if child is None:
            child = tree[part] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"-o {override}: {part} holds a value, not keys")
        tree = child
    tree[parts[-1]] = value


def _checked(tree: Mapping[str, Any], section: Section, prefix: str, source: str) -> dict[str, Any]:
    """Return the section's values with defaults filled in; raise at the first wrong one."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        if "*" not in section and name not in section:
            raise ConfigError(_unknown_key(prefix, str(name), section, source))
        known = section.get(str(name), section.get("*"))
        if not isinstance(known, Key):
            values[str(name)] = _subsection(value, cast(Section, known), f"{prefix}{name}", source)
        elif known.no_effect is None:
            _check_value(known, f"{prefix}{name}", value, source)
    for name, known in section.items():
        if name == "*":
            continue
        if not isinstance(known, Key):
            values.setdefault(name, _checked({}, known, f"{prefix}{name}.", source))
        else:
            values[name] = tree.get(name, known.default)
    return values


def _subsection(value: object, section: Section, name: str, source: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise ConfigError(f"{source}: {name} must hold keys, not {value!r}")
    return _checked(value or {}, section, f"{name}.", source)


def _check_value(known: Key, name: str, value: object, source: str) -> None:
    wanted = known.check(value)
    if wanted is not None:
        raise ConfigError(f"{source}: {name} must be {wanted}, not {value!r}")
    if known.refused_unless is not None and value not in known.refused_unless:
        raise ConfigError(
            f"{source}: {name}: {value!r} is not served by this engine ({known.meaning}); "
            "take the key out, or stay with the official engine for this service"
        )


def _unknown_key(prefix: str, name: str, section: Section, source: str) -> str:
    close = difflib.get_close_matches(name, section, n=1, cutoff=0.5)
    hint = f"; did you mean {prefix}{close[0]}?" if close else f"; known: {', '.join(section)}"
    return f"{source}: unknown key {prefix}{name}{hint}"


def _without_effect(
    tree: Mapping[str, Any], section: Section, prefix: str
) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        known = section.get(str(name), section.get("*"))
        if isinstance(known, Key):
            if known.no_effect is not None:
                yield f"{prefix}{name}", known.no_effect
        elif known is not None and isinstance(value, dict):
            yield from _without_effect(value, known, f"{prefix}{name}.")


def _settings(
    values: dict[str, Any], tree: Mapping[str, Any], path: Path, warning: str | None
) -> ServiceSettings:
    http_port, rpc_port = values["http_port"], values["rpc_port"]
    if "rpc_port" not in tree:
        # The documented rule of 0.9. An ephemeral HTTP port gives an ephemeral RPC port.
        rpc_port = http_port + 1 if http_port else http_port
    if http_port is None and rpc_port is None:
        raise ConfigError(f"{path}: give http_port, rpc_port or both")
    if http_port and http_port == rpc_port:
        raise ConfigError(f"{path}: http_port and rpc_port are both {http_port}; choose two ports")
    if not values["op"]:
        raise ConfigError(f"{path}: op holds no service; add one, for example op: {{waste: ...}}")
    dag, log = values["dag"], values["log"]
    queue_size = dag["channel_size"] or DEFAULT_QUEUE_SIZE
    cores = max(1, len(os.sched_getaffinity(0)) // len(values["op"]))
    ops = tuple(_op(name, op, path, queue_size, cores) for name, op in values["op"].items())
    access, keys, key_warning = _access(values, path)
    return ServiceSettings(
        source=str(path),
        host=values["host"],
        http_port=http_port,
        rpc_port=rpc_port,
        metrics_port=dag["prometheus_port"] if dag["enable_prometheus"] else None,
        admin=_admin(values, tree),
        log=LogSettings(log["level"], log["format"]),
        access=access,
        api_keys=keys,
        max_body_bytes=values["max_body_mb"] * 2**20,
        max_images=values["max_images"],
        drain_timeout_s=float(values["drain_timeout"]),
        ops=ops,
        warning="; ".join(filter(None, (warning, key_warning))) or None,
    )


def _access(
    values: dict[str, Any], path: Path
) -> tuple[AccessSettings, tuple[ApiKey, ...], str | None]:
    def find(given: str, key: str) -> Path:
        return _find(given, key, path)

    try:
        return access_settings(values, find), *api_keys(values, find)
    except (ApiKeysError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _admin(values: dict[str, Any], tree: Mapping[str, Any]) -> AdminSettings | None:
    """Return the admin address; one that nobody chose gives way to whoever has the port."""
    host, port = values["admin"]["host"], values["admin"]["port"]
    chosen = "port" in (tree.get("admin") or {})
    if port is None:
        return None
    if not chosen and values["http_port"] == 0:
        port = 0
    return AdminSettings(host, port, optional=not chosen)


def _op(name: str, op: dict[str, Any], path: Path, queue_size: int, cores: int) -> OpSettings:
    local = op["local_service_conf"]
    where = f"op.{name}"
    if not local["model_config"]:
        raise ConfigError(
            f"{path}: {where}.local_service_conf.model_config is missing; "
            "give the bundle's folder, for example serving_model/waste"
        )
    gpus = _gpus(local, where, path)
    workers = op["concurrency"] or (len(gpus) if gpus else cores)
    threads = local["thread_num"] or max(1, cores // workers)
    fetches = local["fetch_list"] or op["fetch_list"] or [None]
    if len(fetches) > 1:
        raise ConfigError(
            f"{path}: {where}: fetch_list names {len(fetches)} outputs; give the one to answer from"
        )
    timeout_ms = DEFAULT_TIMEOUT_MS if op["timeout"] == -1 else op["timeout"]
    wait_ms = op["auto_batching_timeout"]
    options = PredictorOptions(
        device="gpu" if gpus else "cpu",
        threads=threads,
        onednn=local["use_mkldnn"],
        graph_optim=local["ir_optim"],
        memory_optim=local["mem_optim"],
        precision=local["precision"],
        fetch=fetches[0],
    )
    labels_file = _find(op["labels"], f"{where}.labels", path) if op["labels"] else None
    classifier = ClassifierSettings(
        model_dir=str(
            _find(local["model_config"], f"{where}.local_service_conf.model_config", path)
        ),
        backend=local["backend"],
        topk=op["topk"] or 0,
        labels=_labels(labels_file, f"{path}: {where}.labels") if labels_file else None,
        labels_file=str(labels_file or ""),
        predictor=options,
        max_image_pixels=op["max_image_pixels"],
        batch_size=op["batch_size"],
        classifier=op["classifier"],
        threshold=op["threshold"],
        fast_decode=op["fast_decode"],
    )
    engine = EngineSettings(
        workers=workers,
        batch_size=op["batch_size"],
        auto_batching_timeout_s=wait_ms / 1000 if wait_ms > 0 else None,
        queue_size=queue_size,
        timeout_s=timeout_ms / 1000,
        retries=op["retry"],
        start_timeout_s=float(op["start_timeout"]),
    )
    devices = tuple(f"gpu:{gpus[i % len(gpus)]}" if gpus else "cpu" for i in range(workers))
    return OpSettings(name, classifier, engine, devices)


def _gpus(local: dict[str, Any], where: str, path: Path) -> tuple[int, ...]:
    """Return the GPU numbers to use; none means the CPU."""
    listed = tuple(int(part) for part in str(local["devices"]).split(",") if part.strip().isdigit())
    if local["device_type"] == 0:
        return ()
    if local["device_type"] == 1 and not listed:
        raise ConfigError(
            f"{path}: {where}.local_service_conf.device_type is 1 (GPU) and devices is empty; "
            'write devices: "0"'
        )
    return listed


def _labels(file: Path, where: str) -> tuple[str, ...]:
    try:
        return read_labels(file)
    except BundleError as error:
        raise ConfigError(f"{where}: {error}") from error


def _find(given: str, key: str, path: Path) -> Path:
    """Return an existing path: from the working directory as in 0.9, else near the config file."""
    candidate = Path(given).expanduser()
    for folder in (Path(), path.parent, path.parent.parent):
        if (folder / candidate).exists():
            return (folder / candidate).resolve()
    raise ConfigError(
        f"{path}: {key}: there is no {given} (looked in the working directory "
        f"{Path.cwd()} and beside the configuration)"
    )
