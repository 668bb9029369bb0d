"""Certificates and keys as authorities, editors and accidents leave them."""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


class Pair:
    """A certificate for 127.0.0.1 that signs itself, and its key, as PEM.

    Args:
        name: what the certificate is called.
        days: until it expires; less than 0 for one that has.
        bits: for an RSA key of that size in place of an elliptic curve's.
    """

    def __init__(self, name: str = "localhost", days: float = 1, bits: int = 0) -> None:
        if bits:
            self._key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = rsa.generate_private_key(65537, bits)
        else:
            self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(subject, subject, self._key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=30))
        builder = builder.not_valid_after(now + datetime.timedelta(days=days))
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
        self._certificate = builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        self._subject = subject

    @property
    def certificate(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def der(self) -> bytes:
        """The certificate in binary form."""
        return self._certificate.public_bytes(serialization.Encoding.DER)

    @property
    def request(self) -> bytes:
        """What an authority is sent for a certificate."""
        builder = x509.CertificateSigningRequestBuilder(self._subject)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @property
    def key(self) -> bytes:
        return self.encrypted_key("")

    def encrypted_key(self, password: str, older: bool = False) -> bytes:
        """The key, encrypted unless the password is empty. older: in the form of OpenSSL before 1.0."""
        encryption = serialization.BestAvailableEncryption(password.encode()) if password else None
        form = serialization.PrivateFormat
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            form.TraditionalOpenSSL if older else form.PKCS8,
            encryption or serialization.NoEncryption(),
        )


def write(folder: Path, pair: Pair) -> tuple[Path, Path]:
    """The files of certificate and key, as certbot replaces them: each by a rename, one after the other."""
    paths = (folder / "cert.pem", folder / "key.pem")
    for path, content in zip(paths, (pair.certificate, pair.key), strict=True):
        new = folder / "new"
        new.write_bytes(content)
        new.rename(path)
    return paths


def write_secret(folder: Path, pair: Pair, version: str) -> tuple[Path, Path]:
    """The same as Kubernetes mounts a secret: links into a folder that one link, replaced at once, leads to."""
    content = folder / f"..{version}"
    content.mkdir()
    (content / "tls.crt").write_bytes(pair.certificate)
    (content / "tls.key").write_bytes(pair.key)
    os.symlink(content.name, folder / "..new")
    (folder / "..new").rename(folder / "..data")
    paths = (folder / "tls.crt", folder / "tls.key")
    for path in paths:
        if not path.is_symlink():
            path.symlink_to(f"..data/{path.name}")
    return paths
