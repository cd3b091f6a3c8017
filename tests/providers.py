"""Apple's push service and Google Wallet, played on this machine to try wallets out: `python -m tests.providers`.

Tells each push and each card written at Google as it comes, until Ctrl-C. What the service and the phones of
`tests.phones` need to find them lies in `.data/providers`, as long as they run.
"""

import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from api.settings import read_settings, variable
from tests.fake_apns import FakeApns, fake_apns
from tests.fake_google import FakeGoogle, google_settings
from tests.pocket import ADDRESSES, FOLDER, PUBLIC_URL
from wallet_sync.dev_certificates import make_dev_certificates

SETTINGS = "settings"
LOOK_SECONDS = 0.1
TOKEN_CHARACTERS_SHOWN = 4


@contextmanager
def providers(folder: Path, service: str) -> Iterator[Iterator[str]]:
    """Both run while the block does.

    Args:
        folder: Made with all that is needed of them, and removed with it.
        service: Where PUBLIC_URL really is.

    Returns:
        What they are told, a line each, without an end.

    Raises:
        FileExistsError: The folder is there already.
    """
    folder.mkdir(parents=True)
    try:
        made = make_dev_certificates(folder / "apple", now=datetime.now(UTC))
        with fake_apns(made, folder) as apple, FakeGoogle() as google:
            google.serve_too(*_for_phones(apple, google, service))
            settings = {
                "public_url": PUBLIC_URL,
                "apple_pass_type_id": made.files.pass_type_id,
                "apple_certificate": made.files.certificate,
                "apple_key": made.files.key,
                "apple_wwdr": made.files.wwdr,
                "apple_push_url": apple.url,
                "apple_push_ca": apple.ca_file,
                **google_settings(google, folder),
            }
            lines = (f"export {variable(name)}={shlex.quote(str(value))}\n" for name, value in settings.items())
            (folder / SETTINGS).write_text("".join(lines))
            (folder / ADDRESSES).write_bytes(orjson.dumps({"providers": google.url, "service": service}))
            yield _arrivals(apple, google)
    finally:
        shutil.rmtree(folder)


def _for_phones(apple: FakeApns, google: FakeGoogle, service: str) -> list[Route]:
    """What phones have of Apple and Google beside the service: pushes that arrive, and the wallet of an account."""

    async def pushes(request: Request) -> Response:
        token = request.path_params["token"]
        return JSONResponse(sum(push.token == token for push in apple.pushes))

    async def save(request: Request) -> Response:
        """Google's part of it too: its signed message goes to the address that the card's class names."""
        message = google.save((await request.body()).decode())
        object_id = orjson.loads(orjson.loads(message)["signedMessage"])["objectId"]
        class_id = google.held["loyaltyObject"][object_id]["classId"]
        callback = urlsplit(google.held["loyaltyClass"][class_id]["callbackOptions"]["url"])
        assert f"{callback.scheme}://{callback.netloc}" == PUBLIC_URL
        async with httpx2.AsyncClient(base_url=service) as http:
            answer = await http.post(
                callback.path, content=message, headers={"Content-Type": "application/json"}, timeout=30
            )
        return JSONResponse({"object": object_id, "callback_status": answer.status_code})

    async def card(request: Request) -> Response:
        return JSONResponse(balance(google, request.path_params["id"]))

    return [
        Route("/phones/{token}/pushes", pushes),
        Route("/wallet", save, methods=["POST"]),
        Route("/wallet/{id}", card),
    ]


def balance(google: FakeGoogle, object_id: str) -> str:
    """As it stands on the card: `7/10`."""
    (shown,) = google.held["loyaltyObject"][object_id]["loyaltyPoints"]["balance"].values()
    return str(shown)


def _arrivals(apple: FakeApns, google: FakeGoogle) -> Iterator[str]:
    told, written, users = 0, dict[str, object](), set[str]()
    while True:
        for push in apple.pushes[told:]:
            told += 1
            yield f"push to {push.token[:TOKEN_CHARACTERS_SHOWN]}…"
        for object_id, body in list(google.held["loyaltyObject"].items()):
            if written.get(object_id) is not body:
                written[object_id] = body
                yield f"LoyaltyObject {object_id}: {balance(google, object_id)}"
        for object_id in set(google.users) - users:
            users.add(object_id)
            yield f"saved by somebody: {object_id}"
        time.sleep(LOOK_SECONDS)


def main() -> None:
    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C too: what a shell starts in the background is deaf to it.
        signal.signal(number, signal.default_int_handler)
    found = read_settings()
    try:
        with providers(FOLDER.resolve(), f"http://{found.host}:{found.port}") as arrivals:
            say(f"Apple's push service and Google Wallet are played; their settings are in {FOLDER / SETTINGS}.")
            say("Stop with Ctrl-C.")
            for arrival in arrivals:
                say(arrival)
    except FileExistsError:
        sys.exit(f"{FOLDER} is there already. If they do not run elsewhere, remove it: rm -r {FOLDER}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
