"""Whom we trust: one context of TLS for all endpoints that share their authorities, since each costs megabytes and milliseconds."""

import ssl
from functools import lru_cache
from os import stat


def tls_context(ca_file: str | None, alpn: str) -> ssl.SSLContext:
    """Trusts the system's authorities, or those in `ca_file` alone; a file that has changed is read again. Raises ValueError.

    Sessions are not resumed: the event loops offer no way to do so, and kept connections make handshakes rare.
    """
    try:
        return _context(ca_file, alpn, stat(ca_file).st_mtime_ns if ca_file else 0)
    except ssl.SSLError:
        raise ValueError(f"ca_file {ca_file!r} holds no certificate in the form of PEM") from None
    except OSError as wrong:
        raise ValueError(f"ca_file {ca_file!r} cannot be read: {wrong.strerror}") from None


@lru_cache(maxsize=32)
def _context(ca_file: str | None, alpn: str, changed_ns: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols([alpn])
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # a file may name who signs for us, not who signs for them
    return context
