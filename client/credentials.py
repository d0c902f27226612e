"""Credentials of a client (API key, certificate) and the authorities that it trusts."""

from __future__ import annotations

import argparse
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc

API_KEY_ENVIRONMENT = "PADDLE_SERVING_KIT_API_KEY"


@dataclass(frozen=True)
class Credentials:
    """API key and TLS files of a client; the files are in PEM form.

    Attributes:
        api_key: sent with each request; never printed.
        ca: certificates to trust instead of the machine's own.
        certificate, key: what the client presents to a service that requires one (mutual TLS).
    """

    api_key: str | None = field(default=None, repr=False)
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client's certificate and its key go together: --cert and --key")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ValueError("the API key is not in printable ASCII; is its file the right one?")

    @property
    def means_tls(self) -> bool:
        """Whether any of them needs TLS."""
        return self.ca is not None or self.certificate is not None

    def headers(self) -> dict[str, str]:
        """Return the headers of each request, for HTTP or as gRPC metadata."""
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context for an HTTP client.

        Raises:
            ValueError: a file cannot be read, or is not a certificate or key in PEM form.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # SSLError is one
            raise ValueError(f"cannot use {self._files()}: {error.strerror or error}") from error
        return context

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return the credentials for a gRPC channel.

        Raises:
            ValueError: a file cannot be read.
        """
        try:
            contents = [
                None if path is None else path.read_bytes()
                for path in (self.ca, self.key, self.certificate)
            ]
        except OSError as error:
            raise ValueError(f"cannot read {error.filename}: {error.strerror}") from error
        return grpc.ssl_channel_credentials(*contents)

    def _files(self) -> str:
        return ", ".join(str(path) for path in (self.ca, self.certificate, self.key) if path)


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """Add the options. The key itself is not an option, since every user can list processes."""
    group = parser.add_argument_group("access (docs/security.md)")
    group.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help=f"holds the API key (default: the environment's {API_KEY_ENVIRONMENT})",
    )
    group.add_argument("--ca", type=Path, metavar="FILE", help="trust the certificates in it")
    group.add_argument("--cert", type=Path, metavar="FILE", help="the client's own certificate")
    group.add_argument("--key", type=Path, metavar="FILE", help="its key")


def credentials_of(options: argparse.Namespace) -> Credentials:
    """Return the credentials that the options of `add_credentials` name.

    Raises:
        ValueError: a file cannot be read, or half of a pair is missing.
    """
    key = os.environ.get(API_KEY_ENVIRONMENT, "").strip() or None
    if options.api_key_file is not None:
        try:
            key = options.api_key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise ValueError(f"cannot read {options.api_key_file}: {why}") from error
        if not key:
            raise ValueError(f"{options.api_key_file} is empty; it must hold the API key")
    return Credentials(key, options.ca, options.cert, options.key)
