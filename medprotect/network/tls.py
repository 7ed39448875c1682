"""TLS of connections that go in or out: contexts of the standard library, from PEM files."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from medprotect.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Tls:
    """Who we are, and whom we trust.

    Attributes
    ----------
    certificate, key : Path or None
        What we show, in PEM.
    authority : Path or None
        Whoever it signed is trusted: as a server we then let in nobody else.
    """

    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None

    def server(self) -> ssl.SSLContext | None:
        """Return what a server speaks TLS with; None where it has no certificate to show.

        Raises
        ------
        ConfigError
            A file is missing or none of its kind.
        """
        if self.certificate is None:
            if self.key is not None:
                raise ConfigError("--tls-key needs --tls-cert.")
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._fill(context)
        if self.authority is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self) -> ssl.SSLContext:
        """Return what a peer is spoken to with; it must have a certificate for its host's name.

        Raises
        ------
        ConfigError
            A file is missing or none of its kind.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.authority is None:
            context.load_default_certs()
        self._fill(context)
        return context

    def _fill(self, context: ssl.SSLContext) -> None:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.certificate is not None:
                # A key with a passphrase would have us ask for it, which a service cannot.
                context.load_cert_chain(self.certificate, self.key, password=lambda: "")
            if self.authority is not None:
                context.load_verify_locations(self.authority)
        except (OSError, ValueError):  # of which those of TLS are kinds
            raise ConfigError(
                "The TLS certificate, its key or the authority cannot be read, or do not fit one "
                "another; they are files in PEM, the key without a passphrase."
            ) from None
