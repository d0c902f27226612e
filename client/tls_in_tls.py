"""TLS to a server inside the TLS to a proxy, within the deadline of the stream that carries it.

httpcore has this too, with a time for each of its reads: a handshake that drips has no end there.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, TypeVar

import httpcore

_RECORD = 16 * 1024
T = TypeVar("T")


class TlsInTls(httpcore.NetworkStream):
    """A TLS connection over another stream, whose reads and writes end at its deadline."""

    def __init__(
        self, stream: httpcore.NetworkStream, context: ssl.SSLContext, server_hostname: str | None
    ) -> None:
        """Shake hands.

        Raises:
            httpcore.ConnectError: it failed, or the certificate is not trusted.
        """
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        try:
            self._run(self._tls.do_handshake)
        except (OSError, httpcore.NetworkError) as error:
            stream.close()
            raise httpcore.ConnectError(str(error)) from error
        except httpcore.TimeoutException as error:
            stream.close()
            raise httpcore.ConnectTimeout(str(error)) from error

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Return what is there, b"" at the end."""
        try:
            return self._run(lambda: self._tls.read(max_bytes))
        except ssl.SSLZeroReturnError:
            return b""
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send everything."""
        rest = memoryview(buffer)
        try:
            while rest:
                part = rest[:_RECORD]
                rest = rest[self._run(lambda part=part: self._tls.write(part)) :]  # type: ignore[misc]
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        """Return the TLS object, or what the stream says."""
        return self._tls if info == "ssl_object" else self._stream.get_extra_info(info)

    def _run(self, step: Callable[[], T]) -> T:
        """Repeat a step of TLS until it has the bytes that it needs."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                received = self._stream.read(_RECORD)
                if received:
                    self._incoming.write(received)
                else:
                    self._incoming.write_eof()
                continue
            self._flush()
            return result

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._stream.write(self._outgoing.read())
