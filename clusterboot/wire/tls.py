"""TLS: one context for all connections, and what a failed handshake means.

OpenSSL says what is wrong with a server's certificate (X509_V_ERR_*, x509_vfy.h), the server's alert what is
wrong with the client's (RFC 8446, section 6).
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Callable
from pathlib import Path

from clusterboot.errors import Exit, Problem, UsageError
from clusterboot.topology import Node, Tls

MAX_FILE_BYTES = 16 * 2**20
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = b"PRIVATE KEY-----"

# X509_V_ERR_*
_NOT_YET_VALID, _EXPIRED = 9, 10
_UNKNOWN_CA = (18, 19, 20, 21)
_WRONG_NAME = (62, 64)

# Why a server does not accept the client certificate, by its alert.
_ALERTS = {
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA",
    "SSLV3_ALERT_BAD_CERTIFICATE": "bad certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it is not for clients (extendedKeyUsage)",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it has been revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it cannot be processed",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "no reason given",
}


def context(tls: Tls) -> ssl.SSLContext:
    """Return the context for `tls`; raises UsageError with the file that cannot be used."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.min_version is not None:
        made.minimum_version = _VERSIONS[tls.min_version]
    made.check_hostname = tls.verify
    made.verify_mode = ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE
    if tls.ca is None:
        made.load_default_certs()
    else:
        _check(tls.ca, "ca", _CERTIFICATE, "certificate")
        _load(lambda: made.load_verify_locations(cafile=tls.ca), "ca", tls.ca)
    if tls.cert is not None and tls.key is not None:
        cert, key = tls.cert, tls.key
        _check(cert, "cert", _CERTIFICATE, "certificate")
        _check(key, "key", _KEY, "private key")

        def refuse_to_ask() -> str:  # else OpenSSL asks for the pass phrase at the terminal, and waits
            raise _unusable("key", key, "it is encrypted; a pass phrase cannot be given")

        _load(lambda: made.load_cert_chain(cert, key, password=refuse_to_ask), "key", key)
    return made


def _check(path: Path, which: str, mark: bytes, content: str) -> None:
    try:
        if not path.is_file():
            raise _unusable(which, path, "it is not a file" if path.exists() else "there is no such file")
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES)
    except OSError as failed:
        reason = "you may not read it" if failed.errno == errno.EACCES else str(failed.strerror).lower()
        raise _unusable(which, path, reason) from None
    if mark not in data:
        raise _unusable(which, path, f"it holds no {content} in PEM format")


def _load(load: Callable[[], None], which: str, path: Path) -> None:
    try:
        load()
    except ssl.SSLError as failed:
        if failed.reason == "KEY_VALUES_MISMATCH":
            raise _unusable(which, path, "it does not belong to the certificate in tls.cert") from None
        raise _unusable(which, path, f"OpenSSL cannot use it: {_words(failed) or 'it is damaged'}") from None
    except OSError as failed:
        raise _unusable(which, path, (failed.strerror or "it cannot be read").lower()) from None


def _words(error: ssl.SSLError) -> str:
    return (error.reason or "").lower().replace("_", " ")


def _unusable(which: str, path: Path, reason: str) -> UsageError:
    return UsageError.of(
        "tls-file",
        f"tls.{which} cannot be used: {path}: {reason}.",
        hint=f"correct tls.{which} in the topology; paths are relative to the topology's folder",
    )


def explain(error: ssl.SSLError, node: Node, tls: Tls | None) -> Problem:
    """Return what a failed handshake with `node`, or an alert of it, means; exit status 5."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _server_certificate(error, node, tls or Tls())
    reason = error.reason or ""
    cert = tls.cert if tls else None
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        return _problem(
            "tls-not-spoken",
            f"{node.name} does not speak TLS at {node.address}.",
            node,
            "remove 'tls' from the topology, or give the server's tls-port",
        )
    if "PROTOCOL" in reason and ("VERSION" in reason or "UNSUPPORTED" in reason or "AVAILABLE" in reason):
        least = f" (tls.min_version is {tls.min_version})" if tls and tls.min_version else ""
        return _problem(
            "tls-version",
            f"{node.name} and clusterboot have no TLS version in common{least}.",
            node,
            "lower tls.min_version, or widen tls-protocols on the server",
        )
    # Before TLS 1.3 a missing client certificate has no separate alert.
    if reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED" or (
        cert is None and reason.endswith("ALERT_HANDSHAKE_FAILURE")
    ):
        return _client_certificate(node, None)
    if cert is not None and reason in _ALERTS:
        return _client_certificate(node, cert, _ALERTS[reason])
    return _problem(
        "tls-failed",
        f"{node.name} and clusterboot cannot agree on TLS: {_words(error) or error}.",
        node,
        "compare 'tls' in the topology with the tls- settings and the log of the server",
    )


def hung_up(node: Node, tls: Tls) -> Problem:
    """Return why a server most likely closed the connection after the handshake: the client certificate."""
    return _client_certificate(node, tls.cert, "it closed the connection")


def _client_certificate(node: Node, cert: Path | None, why: str = "") -> Problem:
    if cert is None:
        return _problem(
            "tls-client-certificate",
            f"{node.name} wants a client certificate, and the topology gives none.",
            node,
            "set tls.cert and tls.key, or 'tls-auth-clients no' on the server",
        )
    return _problem(
        "tls-client-certificate",
        f"{node.name} does not accept the client certificate {cert}: {why}.",
        node,
        f"set tls.cert to a certificate signed by a CA in the tls-ca-cert-file of {node.name}",
    )


def _server_certificate(error: ssl.SSLCertVerificationError, node: Node, tls: Tls) -> Problem:
    code = error.verify_code
    if code in _WRONG_NAME:
        name = tls.server_name or node.host
        return _problem(
            "tls-wrong-name",
            f"{node.name} shows a certificate that is not valid for {name}.",
            node,
            f"set tls.server_name to a name in the certificate, or issue it with {name} in subjectAltName",
        )
    if code in (_EXPIRED, _NOT_YET_VALID):
        what, verb = ("has expired", "has") if code == _EXPIRED else ("is not valid yet", "is")
        return _problem(
            "tls-expired",
            f"{node.name} shows a certificate that {what}, or one of its CAs {verb}.",
            node,
            f"renew it on {node.name}; if it is in date, check the clock of this machine",
        )
    if code in _UNKNOWN_CA:
        cas = f"a CA in tls.ca ({tls.ca})" if tls.ca else "a CA that this system trusts"
        return _problem(
            "tls-unknown-ca",
            f"{node.name} shows a certificate that is not signed by {cas}.",
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
