"""Addresses as people type them, completed: a URL for HTTP, HOST:PORT for RPC."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

DEFAULT_SERVICE = "waste"
DEFAULT_URL = "http://127.0.0.1:18080"
DEFAULT_ENDPOINT = "127.0.0.1:9993"

_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# gRPC's own forms, which are passed on unchanged: dns:///host:port, ipv4:..., unix:...
_GRPC_FORM = re.compile(r"^(dns|ipv4|ipv6|unix|unix-abstract|xds):", re.IGNORECASE)
_ENDPOINT = re.compile(r"^(?P<host>\[[0-9a-f:.]+\]|[^:/\s]+):(?P<port>\d+)$", re.IGNORECASE)


def prediction_url(url: str, service: str | None = None) -> str:
    """Return the address to post to.

    `http://host:port` gets `/<service>/prediction`, where the service is `waste` if none is
    named. An address with a path of its own is used unchanged. Without a scheme it is `http://`.

    Raises:
        ValueError: `url` is not an HTTP address, or it names one service and `service` another.
    """
    whole = url if _SCHEME.match(url) else f"http://{url}"
    parts = urlsplit(whole)
    try:
        valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        valid = valid and parts.port != 0  # reading it checks its range
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{url!r} is no HTTP address; give http://HOST:PORT")
    path = parts.path.rstrip("/")
    if not path:
        return f"{parts.scheme}://{parts.netloc}/{service or DEFAULT_SERVICE}/prediction"
    if service and service not in path.split("/"):
        raise ValueError(
            f"{url!r} names another service than {service!r}; "
            f"give --service with http://HOST:PORT alone"
        )
    return whole


def names_a_service(url: str) -> bool:
    """Return whether `url` has a path of its own, which names the service."""
    return bool(urlsplit(url if _SCHEME.match(url) else f"http://{url}").path.rstrip("/"))


def rpc_endpoint(endpoint: str) -> str:
    """Return `endpoint` if gRPC can use it: HOST:PORT, a name or an address, or gRPC's own forms.

    Raises:
        ValueError: it has an HTTP scheme or a path, or no port.
    """
    if _GRPC_FORM.match(endpoint):
        return endpoint
    found = _ENDPOINT.match(endpoint)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ValueError(
            f"{endpoint!r} is no RPC endpoint; give HOST:PORT without http:// and path, "
            f"as {DEFAULT_ENDPOINT}"
        )
    return endpoint


def host_and_port(endpoint: str) -> tuple[str, int] | None:
    """Return what HOST:PORT says; None for gRPC's own forms."""
    found = _ENDPOINT.match(endpoint)
    return None if found is None else (found["host"].strip("[]"), int(found["port"]))


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine, which is reached without a proxy.

    A proxy that the environment names (Docker sets `http_proxy` in every container that it is
    configured for) would look for the address on its own machine.
    """
    bare = host.strip("[]").lower().rstrip(".")
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    # A connection to 0.0.0.0 or :: is one to this machine.
    return address.is_loopback or address.is_unspecified


def endpoint_is_loopback(endpoint: str) -> bool:
    """Return whether an RPC endpoint, also in one of gRPC's own forms, is on this machine."""
    form, _, rest = endpoint.partition(":")
    if form.lower() in ("unix", "unix-abstract"):
        return True
    if _GRPC_FORM.match(endpoint):
        endpoint = rest.rpartition("/")[2]
    return is_loopback(endpoint.rpartition(":")[0])
