"""Certificates for the tests' own servers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from harness import tool


def self_signed(directory: Path) -> Path:
    """A file, made in directory, with a certificate for localhost that is its own authority, and
    with its key."""
    path, key = directory / "both.pem", directory / "key.pem"
    command = [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(
        [*command, "-out", str(path), "-keyout", str(key)], check=True, capture_output=True
    )
    path.write_text(path.read_text() + key.read_text())
    return path
