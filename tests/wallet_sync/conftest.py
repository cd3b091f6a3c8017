"""A signer to make passes with: throw-away certificates, made once for a worker."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.wallet_sync.passes import NOW
from wallet_sync.apple_certificates import Signer
from wallet_sync.apple_key_ring import KeyRing
from wallet_sync.dev_certificates import DevCertificates, make_dev_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> DevCertificates:
    """Shared: copy the files before changing them."""
    return make_dev_certificates(tmp_path_factory.mktemp("certificates"), now=NOW)


@pytest.fixture(scope="session")
def signer(certificates: DevCertificates) -> Signer:
    return KeyRing(certificates.files).signer(NOW)


@pytest.fixture
def own(certificates: DevCertificates, tmp_path: Path) -> DevCertificates:
    """Copies of this test's own."""
    for file in certificates.root.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return moved(certificates, tmp_path)


def moved(made: DevCertificates, folder: Path) -> DevCertificates:
    names = {name: folder / getattr(made.files, name).name for name in ("certificate", "key", "wwdr")}
    return DevCertificates(replace(made.files, **names), folder / made.root.name)
