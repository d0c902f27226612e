"""Requests that a web page makes in a browser, perhaps without its user's knowledge.

A browser lets any page post to any address that its machine reaches; only the reply is kept from
the page. So the origin is checked here: https://fetch.spec.whatwg.org for Origin,
https://w3c.github.io/webappsec-fetch-metadata for Sec-Fetch-Site.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from protocol.errors import Forbidden


def check_origin(headers: Mapping[str, str], allowed: Sequence[str]) -> None:
    """Admit requests of no page, and of pages of this address or of `allowed` origins ("*": all).

    Raises:
        Forbidden: it is another page.
    """
    origin = headers.get("origin")
    if origin is None or origin in allowed or "*" in allowed:
        return
    if _netloc(origin).lower() != headers.get("host", "").lower():
        raise Forbidden(
            f"pages of {origin[:80]!r} may not use this service; list the origin in cors_origins"
        )


def comes_from_a_page(headers: Mapping[str, str]) -> bool:
    """Whether a page made the request, of whatever address."""
    return "origin" in headers or headers.get("sec-fetch-site", "none") != "none"


def names_a_machine(host: str) -> bool:
    """Whether a Host header is an address or a name within a network, and no name of the internet.

    A page of a foreign domain may have the domain resolve to 127.0.0.1 (DNS rebinding). The browser
    then lets it read the replies, as those of its own server; but the header names the domain.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # a bracket that is not closed
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name.rstrip(".")
    return True


def _netloc(origin: str) -> str:
    """Return host and port of an origin; "?" if it has none that could be anybody's."""
    try:
        return urlsplit(origin).netloc or "?"
    except ValueError:
        return "?"
