"""TLS: one context for all connections, and what it means when a handshake fails.

The files are read before anything is connected to, so that a wrong path, a key of another certificate
or a file that is none of it is an error of the topology (exit status 2) and names the file. What is
wrong with a server's certificate is told by its own code in OpenSSL (X509_V_ERR_*, x509_vfy.h); what
the server does not like about ours is told by its alert (RFC 8446, section 6).
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from pathlib import Path

from clusterboot.errors import Exit, Problem, UsageError
from clusterboot.topology import Node, Tls

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_LARGEST = 16 * 2**20
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"

# X509_V_ERR_*: by what the code says about the chain, not about one certificate of it.
_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN_CA = (18, 19, 20, 21)
_WRONG_NAME = (62, 64)


def context(tls: Tls) -> ssl.SSLContext:
    """Return the context for `tls`; raises UsageError with the file that cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.min_version is not None:
        made.minimum_version = _VERSIONS[tls.min_version]
    made.check_hostname = tls.verify
    made.verify_mode = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
    if tls.ca is not None:
        _check(tls.ca, "ca", _CERTIFICATE, "certificate")
        _load(lambda: made.load_verify_locations(cafile=tls.ca), "ca", tls.ca)
    else:
        made.load_default_certs()
    if tls.cert is not None and tls.key is not None:
        cert, key = tls.cert, tls.key
        _check(cert, "cert", _CERTIFICATE, "certificate")
        _check(key, "key", _KEY, "private key")
        # Without a password of our own OpenSSL would ask for one at the terminal, and wait.
        _load(lambda: made.load_cert_chain(cert, key, password=_encrypted(key)), "key", key)
    return made


def _check(path: Path, which: str, mark: bytes, what: str) -> None:
    try:
        if not path.is_file():
            raise _unusable(which, path, "it is not a file" if path.exists() else "there is no such file")
        with path.open("rb") as stream:
            content = stream.read(_LARGEST)
    except OSError as failed:
        reason = "you may not read it" if failed.errno == errno.EACCES else str(failed.strerror).lower()
        raise _unusable(which, path, reason) from None
    if mark not in content:
        raise _unusable(which, path, f"there is no {what} in PEM format in it")


def _load(load: Callable[[], None], which: str, path: Path) -> None:
    try:
        load()
    except ssl.SSLError as failed:
        if failed.reason == "KEY_VALUES_MISMATCH":
            raise _unusable(which, path, "it does not belong to the certificate in tls.cert") from None
        reason = (failed.reason or "it is damaged").lower().replace("_", " ")
        raise _unusable(which, path, f"OpenSSL cannot use it: {reason}") from None
    except OSError as failed:
        raise _unusable(which, path, (failed.strerror or "it cannot be read").lower()) from None


def _encrypted(key: Path) -> Callable[[], str]:
    def asked() -> str:
        raise _unusable("key", key, "it is encrypted, and there is nobody to ask for its pass phrase")

    return asked


def _unusable(which: str, path: Path, reason: str) -> UsageError:
    return UsageError(
        Problem(
            "tls-file",
            f"tls.{which} cannot be used: {path}: {reason}.",
            hint=f"mend tls.{which} in the topology; paths are relative to the topology's folder",
            exit=Exit.USAGE,
        )
    )


def explain(error: ssl.SSLError, node: Node, tls: Tls | None) -> Problem:
    """Return what a failed handshake with `node`, or an alert of it, means; exit status 5."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate(error, node, tls or Tls())
    reason = error.reason or ""
    if reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED":
        return wants_certificate(node)
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return _problem(
            "tls-not-spoken",
            f"{node.name} does not speak TLS at {node.address}.",
            node,
            "take 'tls' out of the topology, or give the port that the server has as tls-port",
        )
    if "PROTOCOL" in reason and ("VERSION" in reason or "UNSUPPORTED" in reason or "AVAILABLE" in reason):
        least = f", and the topology wants TLS {tls.min_version} at least" if tls and tls.min_version else ""
        return _problem(
            "tls-version",
            f"{node.name} speaks another version of TLS{least}.",
            node,
            "lower tls.min_version, or widen tls-protocols on the server",
        )
    if tls is not None and tls.cert is not None and reason in _ALERTS:
        return _not_accepted(node, tls.cert, _ALERTS[reason])
    if "ALERT" in reason and reason.endswith("HANDSHAKE_FAILURE") and not (tls and tls.cert):
        # Before TLS 1.3 a missing client certificate has no alert of its own.
        return wants_certificate(node)
    return _problem(
        "tls-failed",
        f"{node.name} and clusterboot cannot agree on TLS: {reason.lower().replace('_', ' ') or error}.",
        node,
        "compare 'tls' in the topology with the tls- settings and the log of the server",
    )


_ALERTS = {
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it finds it bad",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it is not made for clients (extendedKeyUsage)",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it has been revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it cannot make anything of it",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it gives no reason",
}


def hung_up(node: Node, tls: Tls) -> Problem:
    """Return why a server has most likely hung up before its first reply: for want of a certificate."""
    return wants_certificate(node) if tls.cert is None else _not_accepted(node, tls.cert, "it hung up")


def wants_certificate(node: Node) -> Problem:
    """Return that a server wants a client certificate and got none."""
    return _problem(
        "tls-client-certificate",
        f"{node.name} wants a client certificate, and the topology gives none.",
        node,
        "set tls.cert and tls.key, or tls-auth-clients no on the server",
    )


def _not_accepted(node: Node, cert: Path, why: str) -> Problem:
    return _problem(
        "tls-client-certificate",
        f"{node.name} does not accept the client certificate {cert}: {why}.",
        node,
        f"give tls.cert a certificate that a CA in the tls-ca-cert-file of {node.name} vouches for",
    )


def _certificate(error: ssl.SSLCertVerificationError, node: Node, tls: Tls) -> Problem:
    code = error.verify_code
    if code in _WRONG_NAME:
        name = tls.server_name or node.host
        return _problem(
            "tls-wrong-name",
            f"{node.name} shows a certificate that is not made out to {name}.",
            node,
            f"set tls.server_name to a name in the certificate, or issue it with {name} in subjectAltName",
        )
    if code in (_EXPIRED, _NOT_YET):
        what = "has expired" if code == _EXPIRED else "is not valid yet"
        return _problem(
            "tls-expired",
            f"{node.name} shows a certificate that {what}, or one of its CAs {what.split()[0]}.",
            node,
            f"renew it on {node.name}; if it is in date, check the clock of this machine",
        )
    if code in _UNKNOWN_CA:
        vouches = f"no CA in tls.ca ({tls.ca})" if tls.ca else "none of this system's CAs"
        return _problem(
            "tls-unknown-ca",
            f"{node.name} shows a certificate that {vouches} vouches for.",
            node,
            "set tls.ca to the CA that issued the certificates of the nodes",
        )
    return _problem(
        "tls-failed",
        f"{node.name} shows a certificate that cannot be trusted: {error.verify_message}.",
        node,
        f"issue a new one for {node.name}",
    )


def _problem(code: str, message: str, node: Node, hint: str) -> Problem:
    return Problem(code, message, node=node.name, hint=hint, exit=Exit.NODE)
