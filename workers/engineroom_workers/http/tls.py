"""The door's TLS: certificate and key are checked before anything is served, and read again when they change."""

from __future__ import annotations

import logging
import re
import ssl
from pathlib import Path
from typing import NamedTuple

from engineroom.errors import Problem, Problems, SettingsError
from engineroom.settings import read_bytes

from .watched_files import WatchedFiles

logger = logging.getLogger(__name__)

_CERTIFICATE = "UVICORN_SSL_CERTFILE"
_KEY = "UVICORN_SSL_KEYFILE"
_PASSWORD = "UVICORN_SSL_KEYFILE_PASSWORD"
_BLOCK = re.compile(rb"^-----BEGIN ([A-Z0-9 ]+)-----\s.*?^-----END \1-----", re.MULTILINE | re.DOTALL)
"""One object of a PEM file, with its label (RFC 7468)."""
_BEGINNING = re.compile(rb"^-----BEGIN [A-Z0-9 ]+-----", re.MULTILINE)
_ENCRYPTED = (b"ENCRYPTED", b"Proc-Type: 4,ENCRYPTED")
"""What tells an encrypted key: its label, or a header of OpenSSL's older form."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DER = b"\x30"
"""The first byte of every certificate, key or PKCS #12 file in binary form: an ASN.1 sequence."""
_FLIGHTS = 4
"""Times that each side of a handshake may have to speak; TLS 1.2 and 1.3 need two."""


class TLSFiles(NamedTuple):
    """A certificate and its key.

    key: None where the certificate's file has the key, too.
    password: what the key is encrypted with; empty if it is not.
    """

    certificate: Path
    key: Path | None = None
    password: str = ""

    @property
    def key_file(self) -> Path:
        return self.key or self.certificate

    @property
    def key_variable(self) -> str:
        """The setting that names the file of the key."""
        return _KEY if self.key else _CERTIFICATE


class Certificates:
    """The TLS context for the door's sockets. New connections get the certificate that is in the files by then.

    watched: the files, for whoever looks after them.

    Raises:
        SettingsError: as `load_context`.
    """

    def __init__(self, files: TLSFiles) -> None:
        self._files = files
        paths = [files.certificate, *([files.key] if files.key else [])]
        self.watched = WatchedFiles(paths, "the TLS certificate and its key", self._read)
        self.context = load_context(files)
        self._latest = self.context
        # OpenSSL calls this for every handshake, also of clients that name no server.
        self.context.sni_callback = self._choose
        _warn(self.context, files)

    def _read(self) -> None:
        self._latest = load_context(self._files)
        _warn(self._latest, self._files)

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        if self._latest is not self.context:
            connection.context = self._latest


def load_context(files: TLSFiles) -> ssl.SSLContext:
    """A TLS context of what is in the files now, with which a client can connect: that is tried in memory.

    Raises:
        SettingsError: with what is wrong in either file.
    """
    problems = Problems()
    certificate = problems.collect(lambda: _certificate(files), b"")
    problems.collect(lambda: _check_key(files), None)
    problems.check()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # With a password at hand OpenSSL asks nobody at the terminal for one.
        context.load_cert_chain(files.certificate, files.key_file, password=lambda: files.password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise SettingsError([_not_loaded(files, certificate, error)]) from None
    client = _client()
    try:
        _shake_hands(context, client)
    except ssl.SSLError as error:
        raise _wrong(_CERTIFICATE, f"no client could connect with {files.certificate}: {_reason(error)}") from None
    return context


def _certificate(files: TLSFiles) -> bytes:
    """The certificate's file, in which there is one.

    Raises:
        SettingsError: it holds something else.
    """
    content = _pem(files.certificate, _CERTIFICATE)
    labels = _labels(content)
    if any(label.endswith(b"CERTIFICATE") for label in labels):
        return content
    message = f"there is no certificate in {files.certificate}"
    if b"CERTIFICATE REQUEST" in labels:
        message += " but a request for one; name the file that the authority made of it"
    elif any(label.endswith(b"PRIVATE KEY") for label in labels):
        message += f" but a private key; name the certificate here, and the key in {_KEY}"
    else:
        message += ", which would begin with -----BEGIN CERTIFICATE-----; name another file"
    raise _wrong(_CERTIFICATE, message)


def _check_key(files: TLSFiles) -> None:
    """Raises SettingsError where there is no private key, or one that cannot be opened."""
    content = _pem(files.key_file, files.key_variable)
    keys = [match for match in _BLOCK.finditer(content) if match[1].endswith(b"PRIVATE KEY")]
    if not keys:
        if files.key_variable == _CERTIFICATE:
            raise _wrong(_KEY, f"is not set, and {files.certificate} has no private key in it; name the key's file")
        message = f"there is no private key in {files.key_file}"
        if any(label.endswith(b"CERTIFICATE") for label in _labels(content)):
            message += f" but a certificate; name the key here, and the certificate in {_CERTIFICATE}"
        else:
            message += ", which would begin with -----BEGIN PRIVATE KEY-----; name another file"
        raise _wrong(_KEY, message)
    if any(sign in keys[0][0] for sign in _ENCRYPTED) and not files.password:
        raise _wrong(
            files.key_variable,
            f"the key in {files.key_file} is encrypted; set {_PASSWORD}, or decrypt it: "
            f"openssl pkey -in {files.key_file} -out NEW_FILE",
        )


def _pem(path: Path, variable: str) -> bytes:
    """The content of a PEM file. OpenSSL reads it itself, from its path, so it has to be as OpenSSL can.

    Raises:
        SettingsError: it cannot be read, or is in another form.
    """
    content = read_bytes(path, variable)
    if content.startswith(_BYTE_ORDER_MARK):
        raise _wrong(
            variable, f"{path} begins with a byte order mark, as some Windows editors write; save it as UTF-8 without"
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _wrong(variable, f"{path} is in UTF-16, as some Windows programs write; save it as plain text")
    if content.startswith(_DER) and not _labels(content):
        raise _wrong(
            variable,
            f"{path} is in binary form (DER or PKCS #12) and must be PEM; convert it: "
            f"openssl x509, pkey or pkcs12 -in {path} -out NEW_FILE",
        )
    if _BEGINNING.search(content) and not _labels(content):
        raise _wrong(variable, f"{path} is not whole: its -----BEGIN line has no -----END line; copy the file anew")
    return content


def _labels(content: bytes) -> list[bytes]:
    return [match[1] for match in _BLOCK.finditer(content)]


def _not_loaded(files: TLSFiles, certificate: bytes, error: Exception) -> Problem:
    """Why OpenSSL does not take the two."""
    reason = _reason(error)
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        message = f"the key in {files.key_file} is not that of the first certificate in {files.certificate}"
        return Problem(files.key_variable, f"{message}; name the key that it was made with, and the server's own "
                       "certificate before those of authorities")  # fmt: skip
    for block in _BLOCK.finditer(certificate):
        if block[1].endswith(b"CERTIFICATE") and not _is_certificate(block[0]):
            line = certificate.count(b"\n", 0, block.start()) + 1
            message = f"the certificate in line {line} of {files.certificate} is damaged; copy the file anew"
            return Problem(_CERTIFICATE, message)
    if files.password:
        message = f"{_PASSWORD} does not open the key in {files.key_file}; correct it, or copy that file anew"
        return Problem(files.key_variable, message)
    if "KEY_TOO_SMALL" in reason or "MD_TOO_WEAK" in reason:
        message = f"{files.certificate} is too weak for OpenSSL ({reason}); have it made with RSA 2048 and SHA-256"
        return Problem(_CERTIFICATE, message)
    message = f"the key in {files.key_file} is damaged, or of a kind that OpenSSL does not know; copy it anew"
    return Problem(files.key_variable, message)


def _is_certificate(block: bytes) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=block.decode("ascii"))
    except (ssl.SSLError, ValueError):
        return False
    return True


def _warn(context: ssl.SSLContext, files: TLSFiles) -> None:
    """Log what clients will not like about the certificate itself; whether they know its authority, nobody knows here.

    A client that trusts just these certificates connects in memory: what it complains of, all will.
    """
    path = files.certificate
    client = _client()
    client.verify_mode = ssl.CERT_REQUIRED
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        client.load_verify_locations(path)
        _shake_hands(context, client)
    except ssl.SSLCertVerificationError as error:
        logger.warning(
            "%s: clients will refuse %s: %s; renew it, and it is taken over without a restart "
            "(openssl x509 -in %s -noout -dates shows its dates)",
            _CERTIFICATE,
            path,
            error.verify_message,
            path,
        )
    except (ssl.SSLError, OSError):
        return  # The files are changing; they are looked at again.


def _client() -> ssl.SSLContext:
    """A client that takes every certificate."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    return client


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """One handshake in memory. Raises ssl.SSLError where either side does not like the other."""
    to_server = ssl.MemoryBIO()
    to_client = ssl.MemoryBIO()
    sides = (client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(_FLIGHTS):
        waiting = False
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                waiting = True
        if not waiting:
            return


def _reason(error: Exception) -> str:
    """OpenSSL's words for an error, without where in its source it arose."""
    words = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(words)


def _wrong(variable: str, message: str) -> SettingsError:
    return SettingsError([Problem(variable, message)])
