"""Certificates for tests: an authority, a server of 127.0.0.1 and localhost, and a client, made anew for each session.

Lives here: `Certificates`, a folder of PEM files. Nothing of it is worth protecting: the keys live for one test run.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFE = datetime.timedelta(days=1)
SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Certificates:
    """``ca``, ``server``, ``server_key``, ``client``, ``client_key``: paths of PEM files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._now = datetime.datetime.now(datetime.UTC)
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self.ca, _ = self._make("flow-core test authority", self._ca_key, None)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        self.server, self.server_key = self._make("server", ec.generate_private_key(ec.SECP256R1()), names)
        self.client, self.client_key = self._make("client", ec.generate_private_key(ec.SECP256R1()), [])

    def _make(self, name, key, alternatives):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flow-core test authority")])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(self._now - LIFE).not_valid_after(self._now + LIFE)
        builder = builder.add_extension(x509.BasicConstraints(alternatives is None, None), critical=True)
        # What Python 3.13 asks of every certificate (VERIFY_X509_STRICT).
        issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key())
        builder = builder.add_extension(issued_by, critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if alternatives is None:
            builder = builder.add_extension(SIGNS, critical=True)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        certificate = builder.sign(self._ca_key, hashes.SHA256())
        file, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return file, key_file
