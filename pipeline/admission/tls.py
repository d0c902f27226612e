"""TLS for both wires from the same PEM files, renewed without a restart."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from ..settings.access import TlsSettings
from ..settings.errors import ConfigError


class Tls:
    """The certificate that both ports show; `renew` reads it again, for connections from then on.

    TLS 1.2 is the oldest spoken. With `client_ca` a client must show a certificate of its own.

    Attributes:
        context: what HTTP connections that are accepted now use; another one after each renewal.
    """

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files.

        Raises:
            ConfigError: one cannot be read, or certificate and key do not belong together.
        """
        self._settings = settings
        self.context = _context(settings)
        self._grpc = _grpc_configuration(settings)

    def renew(self, settings: TlsSettings | None = None) -> None:
        """Read the files again, or those of `settings`; if one is wrong, the earlier ones stay.

        Whether clients need a certificate cannot change.

        Raises:
            ConfigError: see `__init__`.
        """
        # A new context each time. Loading adds to a context: in the one that serves, an authority
        # that was replaced would stay trusted, and a key of another kind would stay in use.
        settings = settings or self._settings
        context, configuration = _context(settings), _grpc_configuration(settings)
        self._settings, self.context, self._grpc = settings, context, configuration

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return credentials that ask for the newest certificate at each new connection."""
        return grpc.dynamic_ssl_server_credentials(
            self._grpc,
            lambda: self._grpc,
            require_client_authentication=self._settings.client_ca is not None,
        )


def _grpc_configuration(settings: TlsSettings) -> grpc.ServerCertificateConfiguration:
    pair = (_read(settings.key, "tls.key"), _read(settings.certificate, "tls.certificate"))
    ca = _read(settings.client_ca, "tls.client_ca") if settings.client_ca else None
    return grpc.ssl_server_certificate_configuration([pair], ca)


def _context(settings: TlsSettings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Of TLS 1.2: a client could have a handshake computed again and again on one connection.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _load(context, settings)
    return context


def _load(context: ssl.SSLContext, settings: TlsSettings) -> None:
    def no_password() -> str:
        raise ConfigError(
            f"tls.key: {settings.key} is encrypted, and the service cannot ask for its password. "
            f"Decrypt it: openssl pkey -in {settings.key} -out KEY.pem"
        )

    for name, path in (("tls.certificate", settings.certificate), ("tls.key", settings.key)):
        _read(path, name)
    try:
        context.load_cert_chain(settings.certificate, settings.key, no_password)
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            why = f"{settings.key} is not the key of {settings.certificate}"
        else:
            why = (
                f"{settings.certificate} and {settings.key} must be a certificate and its key "
                f"in PEM form ({error.reason or 'they cannot be read'})"
            )
        raise ConfigError(f"tls: {why}") from error
    if settings.client_ca is not None:
        _read(settings.client_ca, "tls.client_ca")
        try:
            context.load_verify_locations(settings.client_ca)
        except ssl.SSLError as error:
            raise ConfigError(
                f"tls.client_ca: {settings.client_ca} holds no certificate in PEM form"
            ) from error
        context.verify_mode = ssl.CERT_REQUIRED


def _read(path: str, key: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}: cannot read {path}: {error.strerror}") from error
