"""Certificates for tests, made by the program `openssl`: of an authority that nobody knows, for a server on this machine."""

import ssl
import subprocess
from pathlib import Path

from tests.needs import need

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
_LONG_AGO = ["-not_before", "20200101000000Z", "-not_after", "20200102000000Z"]


class Authority:
    """Its own certificate is in the file `ca`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._openssl = folder, need("openssl")
        self.ca = folder / "ca.pem"
        self._run(
            *("req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Nobody's authority"),
            *("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"),
        )

    def server(self, *, names: str = "DNS:localhost,IP:127.0.0.1", expired: bool = False, alpn: str | None = None) -> ssl.SSLContext:
        """What a server shows whose certificate this authority signs."""
        self._run("req", *_KEY, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
        (self._folder / "extensions").write_text(f"subjectAltName={names}\n")
        sign = ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "server.pem"]
        sign += ["-extfile", "extensions"]
        try:
            self._run(*sign, "-days", "-1" if expired else "2")
        except subprocess.CalledProcessError:  # a newer openssl refuses a negative number, and knows these
            self._run(*sign, *_LONG_AGO)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "server.pem", self._folder / "server.key")
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        return context

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], cwd=self._folder, check=True, capture_output=True)
