"""Installs what can be had of the peers, and says what cannot. Never fails: the tests skip what is not there."""

import sys

from tests.wallet_sync.peers.installing import NotToBeHad, install_debians_packages, install_npms_packages

for install in (install_debians_packages, install_npms_packages):
    try:
        install()
    except NotToBeHad as reason:
        sys.stdout.write(f"Some peers are left out of the tests; {reason}\n")
