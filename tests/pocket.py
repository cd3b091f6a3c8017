"""An iPhone and an Android phone to try wallets out with: `python -m tests.pocket`, beside `python -m tests.providers`.

What they carry is remembered from one command to the next, as long as the providers run.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson

from tests.phones import Carried, Phone, opened

FOLDER = Path(".data/providers")
"""Of the providers, as long as they run."""
ADDRESSES = "addresses.json"
PUBLIC_URL = "https://cards.example"
"""Of the service, to everybody else: Google takes pictures by https alone. ADDRESSES says where it really is."""

USAGE = """\
python -m tests.pocket add FILE    the iPhone takes in a pass and registers for it
python -m tests.pocket save LINK   the Android phone saves the card in Google Wallet
python -m tests.pocket wait        until both show something new, if they carry anything; 30 seconds at most
"""
MEMORY = FOLDER / "pocket.json"
WAIT_SECONDS_MAX = 30.0
LOOK_SECONDS = 0.1


class Pocket:
    """`providers` is asked for what Apple and Google bring to phones, `service` for everything else."""

    def __init__(self, memory: dict[str, Any], providers: httpx2.Client, service: httpx2.Client) -> None:
        self._memory = memory
        self._providers = providers
        self._service = service

    def add(self, file: Path) -> str:
        told = opened(file.read_bytes())
        base = urlsplit(told["webServiceURL"])
        assert f"{base.scheme}://{base.netloc}" == PUBLIC_URL, "a pass of another service"
        phone = Phone(self._service, base.path)
        carried = phone.carry(Carried(told, last_modified=None))
        phone.refresh()
        self._keep(phone, pushes=0)
        return f"iPhone: registered; the card shows {_header(carried)}"

    def save(self, link: str) -> str:
        answer = self._providers.post("/wallet", content=link.encode()).raise_for_status().json()
        assert answer["callback_status"] == 200, answer
        shown = self._at_google(answer["object"])
        self._memory["android"] = {"object": answer["object"], "shown": shown}
        return f"Android phone: saved; the card shows {shown}, and Google told the service"

    def wait(self) -> Iterator[str]:
        """What is new on each phone that carries something; first on the iPhone, whichever comes first.

        Raises: TimeoutError.
        """
        until = time.monotonic() + WAIT_SECONDS_MAX
        for name, news in {"iphone": self._rung, "android": self._written}.items():
            while name in self._memory and (line := news()) is None:
                if time.monotonic() > until:
                    raise TimeoutError(f"nothing new within {WAIT_SECONDS_MAX:.0f} seconds")
                time.sleep(LOOK_SECONDS)
            if name in self._memory:
                yield line

    def _rung(self) -> str | None:
        known = self._memory["iphone"]
        pushes = self._providers.get(f"/phones/{known['push_token']}/pushes").raise_for_status().json()
        if pushes == known["pushes"]:
            return None
        passes = {serial: Carried(**carried) for serial, carried in known["passes"].items()}
        phone = Phone(self._service, known["base"], known["id"], known["push_token"], passes, tag=known["tag"])
        phone.refresh()
        self._keep(phone, pushes=pushes)
        return f"iPhone: {'; '.join(phone.alerts)}"

    def _keep(self, phone: Phone, *, pushes: int) -> None:
        self._memory["iphone"] = {
            "base": phone.base,
            "id": phone.id,
            "push_token": phone.push_token,
            "tag": phone.tag,
            "pushes": pushes,
            "passes": {serial: asdict(carried) for serial, carried in phone.passes.items()},
        }

    def _written(self) -> str | None:
        known = self._memory["android"]
        before, known["shown"] = known["shown"], self._at_google(known["object"])
        return None if known["shown"] == before else f"Android phone: {known['shown']}"

    def _at_google(self, object_id: str) -> str:
        return str(self._providers.get(f"/wallet/{object_id}").raise_for_status().json())


def _header(carried: Carried) -> str:
    (field,) = carried.told["storeCard"]["headerFields"]
    return str(field["value"])


def main(asked: list[str]) -> None:
    if not (FOLDER / ADDRESSES).exists():
        sys.exit("python -m tests.providers does not run in this directory")
    addresses = orjson.loads((FOLDER / ADDRESSES).read_bytes())
    memory = orjson.loads(MEMORY.read_bytes()) if MEMORY.exists() else {}
    with (
        httpx2.Client(base_url=addresses["providers"], timeout=WAIT_SECONDS_MAX) as providers,
        httpx2.Client(base_url=addresses["service"], timeout=WAIT_SECONDS_MAX) as service,
    ):
        pocket = Pocket(memory, providers, service)
        try:
            for line in _told(pocket, asked):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
        except TimeoutError as error:
            sys.exit(str(error))
        finally:
            MEMORY.write_bytes(orjson.dumps(memory))


def _told(pocket: Pocket, asked: list[str]) -> Iterator[str]:
    match asked:
        case ["add", file]:
            yield pocket.add(Path(file))
        case ["save", link]:
            yield pocket.save(link)
        case ["wait"]:
            yield from pocket.wait()
        case _:
            sys.exit(USAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
