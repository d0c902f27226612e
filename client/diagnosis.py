"""Why a client gets no reply from a server: what listens at its address, and is it trusted.

A library reports the mix of two protocols in its own words ("wrong version number", "socket
closed"). So after such a failure the address is looked at: a TLS handshake, then a request in
HTTP/1.1. A gRPC server begins with a SETTINGS frame, or accepts `h2` only.
"""

from __future__ import annotations

import functools
import os
import socket
import ssl
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from client.addresses import addresses_of
from client.deadline import Deadline

Spoken: TypeAlias = Literal["HTTP", "gRPC", ""]
Look: TypeAlias = Callable[[], socket.socket]

STEP_TIMEOUT_S = 1.0
# OpenSSL's X509_V_ERR_: HOSTNAME_MISMATCH, IP_ADDRESS_MISMATCH.
_NAMES_DIFFER = (62, 64)
# UNABLE_TO_GET_ISSUER_CERT, DEPTH_ZERO_SELF_SIGNED_CERT, SELF_SIGNED_CERT_IN_CHAIN,
# UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNABLE_TO_VERIFY_LEAF_SIGNATURE.
_NO_AUTHORITY = (2, 18, 19, 20, 21)
_REQUEST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_SETTINGS = 4  # the type of a frame of HTTP/2
_OTHER_CLIENT = {"HTTP": "client/http_client.py", "gRPC": "client/rpc_client.py"}
_PORT = {"HTTP": "HTTP port (http_port, 18080)", "gRPC": "RPC port (rpc_port, 9993)"}


@dataclass(frozen=True, slots=True)
class Found:
    """What listens at an address.

    Attributes:
        refused: why no connection could be made, "" where one was.
        speaks: the protocol, "" for another one.
        tls: whether it speaks TLS.
        distrust: why its certificate is not trusted, "" where it is.
        wants_certificate: whether it requires one of the client.
    """

    refused: str = ""
    speaks: Spoken = ""
    tls: bool = False
    distrust: str = ""
    wants_certificate: bool = False


def look_at(host: str, port: int, context: ssl.SSLContext, deadline: Deadline) -> Found:
    """Look at an address; `context` is what the client trusts, and its own certificate.

    This takes no longer than until `deadline`; what is not found until then is left out.
    """
    look = functools.partial(_connection, host, port, deadline)
    try:
        with look():
            pass
    except TimeoutError:
        return Found()
    except OSError as error:
        return Found(refused=(error.strerror or str(error)).lower())
    try:
        return _over_tls(look, host, context)
    except OSError:  # SSLError is one
        pass
    try:
        with look() as plain:
            return Found(speaks=_spoken(plain))
    except OSError:
        return Found()


def explanation(found: Found, wanted: Spoken, *, tls: bool) -> str:
    """Return what is wrong and what to do, for a client that speaks `wanted`; "" if unknown."""
    if found.refused:
        return found.refused
    if found.speaks and found.speaks != wanted:
        return (
            f"this port speaks {found.speaks}, not {wanted}; give the {_PORT[wanted]}, or use "
            f"{_OTHER_CLIENT[found.speaks]}"
        )
    if found.tls != tls:
        return _other_tls(found, wanted)
    if found.distrust:
        return f"its certificate is not trusted: {found.distrust}"
    if found.wants_certificate:
        return (
            "it ends the connection behind the TLS handshake, as a service does that requires a "
            "certificate of the client; give --cert and --key of one that it trusts"
        )
    return ""


def _other_tls(found: Found, wanted: Spoken) -> str:
    """Return what to do where one side speaks TLS and the other does not."""
    if found.tls:
        return "it speaks TLS; " + ("write https://" if wanted == "HTTP" else "give --tls or --ca")
    if not found.speaks:
        return ""
    without = "write http://" if wanted == "HTTP" else "leave out --tls, --ca and --cert"
    return f"it speaks {found.speaks} without TLS; {without}"


def proxy_of(host: str, *names: str, port: int | None = None) -> str:
    """Return the proxy that the environment has for `host`, as messages show it."""
    address = proxy_address_of(host, *names, port=port)
    return urlsplit(address).netloc.rpartition("@")[2]  # without a password


def proxy_address_of(host: str, *names: str, port: int | None = None) -> str:
    """Return the proxy that the environment has for `host`, by the first of `names` that is set.

    There may be a password in it. One that is set without a scheme (`proxy:3128`) is of HTTP.
    """
    set_proxies = urllib.request.getproxies()
    grpc_proxy = os.environ.get("grpc_proxy")  # noqa: SIM112 - gRPC reads small letters
    if grpc_proxy:
        set_proxies["grpc"] = grpc_proxy
    # no_proxy names hosts, or hosts with a port.
    if urllib.request.proxy_bypass(host) or urllib.request.proxy_bypass(f"{host}:{port}"):
        return ""
    address = next((set_proxies[name] for name in names if set_proxies.get(name)), "")
    return address if "://" in address or not address else f"http://{address}"


def through(proxy: str) -> str:
    """Return what an error says of the way over a proxy."""
    if not proxy:
        return ""
    return (
        f"; the way is through the proxy {proxy} of the environment (no_proxy names hosts that are "
        "reached without it)"
    )


def _connection(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Return a connection of which each operation has a second, and what is left at most."""
    step = deadline.sooner(STEP_TIMEOUT_S)
    failure: OSError = TimeoutError("the time is over")
    addresses = addresses_of(host, port, step)
    for position, address in enumerate(addresses, 1):
        attempt = step.shared(len(addresses) - position)
        if attempt.left_s() <= 0:
            break
        try:
            connection = socket.create_connection(address, attempt.left_s())
        except OSError as error:
            failure = error
            continue
        connection.settimeout(max(deadline.sooner(STEP_TIMEOUT_S).left_s(), 0.001))
        return connection
    raise failure


def _over_tls(look: Look, host: str, context: ssl.SSLContext) -> Found:
    """Look at a server over TLS, and whether `context` trusts it.

    Raises:
        OSError: it does not speak TLS.
    """
    # A server of web pages may choose h2 too, but then it answers HTTP/1.1 as well.
    spoken, _ = _in_tls(look, host, "http/1.1")
    answers = bool(spoken)
    if not spoken:
        spoken, answers = _in_tls(look, host, "h2")
    return Found(
        speaks=spoken,
        tls=True,
        distrust=_distrust(look, host, context),
        # With TLS 1.3 the handshake is over before the server misses the certificate.
        wants_certificate=not answers,
    )


def _in_tls(look: Look, host: str, protocol: str) -> tuple[Spoken, bool]:
    """Return what a server speaks that is offered `protocol`, and whether it answers at all."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.set_alpn_protocols([protocol])
    with trusting.wrap_socket(look(), server_hostname=host) as secured:
        chosen: Spoken = "gRPC" if secured.selected_alpn_protocol() == "h2" else ""
        try:
            spoken = _spoken(secured)
        except OSError:
            return chosen, False
    return spoken or chosen, bool(spoken)


def _distrust(look: Look, host: str, context: ssl.SSLContext) -> str:
    try:
        with context.wrap_socket(look(), server_hostname=host):
            return ""
    except ssl.SSLCertVerificationError as error:
        return _reason(error, host)
    except OSError:
        return ""


def _reason(error: ssl.SSLCertVerificationError, host: str) -> str:
    reason = error.verify_message.rstrip(".")
    if error.verify_code in _NAMES_DIFFER:
        return f"it is not issued for {host}; use the name or address that it is issued for"
    if error.verify_code in _NO_AUTHORITY:
        return f"{reason}; trust it, or the authority that issued it, with --ca FILE"
    return reason


def _spoken(connection: socket.socket) -> Spoken:
    """Return the protocol of a server whose connection is open."""
    connection.sendall(_REQUEST)
    head = connection.recv(16)
    if head.startswith(b"HTTP/1."):
        return "HTTP"
    return "gRPC" if len(head) > 3 and head[3] == _SETTINGS and head[0] == 0 else ""
