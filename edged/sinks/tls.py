"""The TLS context of MQTT connections, the same on every Python."""

from __future__ import annotations

import ssl


class _Socket(ssl.SSLSocket):
    """Closed when the handshake fails: paho 2.2 leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def context(ca: str | None, cert: str | None = None, key: str | None = None) -> ssl.SSLContext:
    """Verifies the peer against `ca` (PEM file; None: the system's). Raises OSError (ssl.SSLError is one)."""
    made = ssl.create_default_context(cafile=ca)
    made.sslsocket_class = _Socket
    # Python 3.13 began to refuse CAs without a key usage extension, as most plants' own CAs are.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cert is not None:
        made.load_cert_chain(cert, key)
    return made
