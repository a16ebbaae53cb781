"""The vendor's own server, and the emulated cloud under the vendor's name that it insists on.

It asks its cloud over TLS at a fixed host name, so while a benchmark runs that name points to this machine (a marked
line in /etc/hosts, removed at the end), where the emulator answers on port 443 with a certificate made for the run.
"""

import datetime as dt
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cloud import Cloud
from benchmarks.contenders import Vendor
from benchmarks.harness import clean_environment

PACKAGE = "@deepdataspace/dinox-mcp"
VERSION = "1.0.0"
HOST = "api.deepdataspace.com"
CACHE = Path(__file__).parents[1] / ".cache" / "vendor"
_HOSTS = Path("/etc/hosts")
_MARK = "# dinox-mcp benchmarks"


class UnavailableError(Exception):
    """The vendor's server cannot run here; the message says why."""


@dataclass(frozen=True)
class VendorSetup:
    """Everything that the vendor's server needs to run: start it as often as you like."""

    cloud: Cloud
    program: Path
    certificate: Path
    folder: Path

    def start(self) -> Vendor:
        """Start its process."""
        return Vendor(self.program, self.certificate, self.folder)


@contextmanager
def vendor_setup(folder: Path) -> Iterator[VendorSetup]:
    """Install the vendor's server unless it is, and put the emulator under the vendor's name meanwhile.

    `folder` takes certificates and pictures.

    Raises:
        UnavailableError: this machine does not allow it.
    """
    _check_machine()
    program = _install()
    certificate, key = _make_certificate(folder)
    pictures = folder / "vendor"
    pictures.mkdir()
    with _name_points_here(), Cloud(tls=(str(certificate), str(key))) as cloud:
        yield VendorSetup(cloud, program, certificate, pictures)


def _check_machine() -> None:
    missing = [name for name in ("node", "npm") if not shutil.which(name)]
    if missing:
        raise UnavailableError(f"{' and '.join(missing)} not installed")
    if os.name != "posix" or not os.access(_HOSTS, os.W_OK):
        raise UnavailableError(f"{_HOSTS} cannot be written (it needs root), and the vendor's host name is fixed")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 443))
        except OSError as error:
            raise UnavailableError(f"port 443 of this machine cannot be used ({error.strerror})") from None


def _install() -> Path:
    package = CACHE / "node_modules" / PACKAGE
    program = package / "build" / "index.js"
    if not program.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(CACHE), "--no-audit", "--no-fund", f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=CACHE)
        if done.returncode or not program.exists():
            raise UnavailableError(f"npm cannot install {PACKAGE}@{VERSION}: {done.stderr.strip()[-200:]}")
    return program


def _make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for the vendor's host name that vouches for itself, and its key, as PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(private)
    return paths


@contextmanager
def _name_points_here() -> Iterator[None]:
    _unmark()  # what a run that was killed may have left
    with _HOSTS.open("a") as hosts:
        hosts.write(f"127.0.0.1 {HOST} {_MARK}\n")
    try:
        yield
    finally:
        _unmark()


def _unmark() -> None:
    lines = _HOSTS.read_text()
    kept = re.sub(rf"^.*{re.escape(_MARK)}\n", "", lines, flags=re.MULTILINE)
    if kept != lines:
        _HOSTS.write_text(kept)


def node_version() -> str:
    """Tell the version of Node."""
    done = subprocess.run(["node", "--version"], check=False, capture_output=True, text=True, env=clean_environment())
    return done.stdout.strip()
