"""A small public key infrastructure, made with the openssl command: once, and good for every test.

pki = Pki(folder)
pki.issue("node", names=["localhost"], ips=["127.0.0.1"])     # folder/node.pem, folder/node.key
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


class Pki:
    """A CA in `folder` (`ca.pem`), and what it issues; `other` is a CA that nobody here trusts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("ca", "other-ca"):
            self._key(name)
            self._openssl(
                *("req", "-x509", "-new", "-key", f"{name}.key", "-subj", f"/CN={name} of the tests"),
                *("-days", "30", "-out", f"{name}.pem", "-addext", "keyUsage=critical,keyCertSign"),
            )

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def other_ca(self) -> Path:
        return self.folder / "other-ca.pem"

    def issue(
        self, name: str, *, names: Sequence[str] = (), ips: Sequence[str] = (), ca: str = "ca", days: int = 30
    ) -> tuple[Path, Path]:
        """Issue a certificate and return it and its key; with `days` below zero it has expired already."""
        self._key(name)
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/CN={name}", "-out", f"{name}.csr")
        alternative = ",".join([*(f"DNS:{one}" for one in names), *(f"IP:{one}" for one in ips)])
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\n" if alternative else "")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key"),
            *("-CAcreateserial", "-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
        )
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _key(self, name: str) -> None:
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def _openssl(self, *words: str) -> None:
        done = subprocess.run(
            ["openssl", *words], cwd=self.folder, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == 0, f"openssl {' '.join(words)}: {done.stderr}"
