"""Apple's push service, played by a real HTTP/2 server that asks for client certificates.

It answers by the first letters of a push token, or as it is told, and remembers every push.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from ssl import VerifyMode
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypercorn.asyncio import serve
from hypercorn.config import Config

from wallet_sync.dev_certificates import DevCertificates

HOST = "127.0.0.1"
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 10
PATH = "/3/device/"
GONE_AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    reason: str | None = None
    gone_at: datetime | None = None
    retry_after: int | None = None  # Seconds.
    hangs: bool = False  # Nothing is said until the server stops.

    @property
    def body(self) -> bytes:
        if self.reason is None:
            return b""
        said: dict[str, Any] = {"reason": self.reason}
        if self.gone_at is not None:
            said["timestamp"] = int(self.gone_at.timestamp() * 1000)
        return orjson.dumps(said)


OK = Answer(200)
GONE = Answer(410, "Unregistered", gone_at=GONE_AT)
BAD = Answer(400, "BadDeviceToken")
SLOW = Answer(429, "TooManyRequests")
DOWN = Answer(503, "ServiceUnavailable")
HANG = Answer(0, hangs=True)
BY_PREFIX = {"gone": GONE, "bad": BAD, "slow": SLOW, "down": DOWN}


@dataclass(frozen=True, slots=True)
class Push:
    """One request as it came, refused or not."""

    method: str
    path: str
    token: str
    headers: list[tuple[str, str]]  # As sent, in order, without those beginning with a colon.
    body: bytes
    connection: tuple[str, int]  # The client's end of it.
    http_version: str
    at: float = field(default_factory=time.monotonic)


class _Loop(asyncio.SelectorEventLoop):
    """Does not wait half a minute for a client's goodbye: an idle client says none."""

    async def create_server(self, *given: Any, **settings: Any) -> asyncio.Server:
        return await super().create_server(*given, ssl_shutdown_timeout=0.2, **settings)


@dataclass(slots=True)
class FakeApns:
    port: int
    topic: str
    ca_file: Path  # What the server's own certificate can be verified with.
    certificate: Path
    key: Path
    client_ca_file: Path
    pushes: list[Push] = field(default_factory=list)
    accepted: list[Push] = field(default_factory=list)
    always: Answer | None = None  # For every token; None: by the token's first letters.
    by_token: dict[str, Answer] = field(default_factory=dict)  # Before that, for some.
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    @property
    def connections(self) -> set[tuple[str, int]]:
        return {push.connection for push in self.pushes}

    def start(self) -> None:
        """Ready when it returns. The port stays the same after a stop."""
        assert self._thread is None
        listening = socket.create_server((HOST, self.port), backlog=100)  # Reuses the address.
        self.port = listening.getsockname()[1]
        is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening, is_up), name="fake-apns")
        self._thread.start()
        assert is_up.wait(START_SECONDS_MAX)

    def stop(self) -> None:
        """Connections are closed, and pushes without an answer stay without."""
        if self._thread is not None:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(STOP_SECONDS_MAX)
            assert not self._thread.is_alive()
            self._thread = None

    def _run(self, listening: socket.socket, is_up: threading.Event) -> None:
        # What still hangs is cancelled after the time of grace.
        with asyncio.Runner(loop_factory=_Loop) as runner, suppress(asyncio.CancelledError, OSError):
            runner.run(self._serve(listening, is_up))

    async def _serve(self, listening: socket.socket, is_up: threading.Event) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        config = Config()
        config.bind = [f"fd://{listening.detach()}"]  # Listens already: who connects early waits a moment.
        config.certfile, config.keyfile = str(self.certificate), str(self.key)
        config.ca_certs, config.verify_mode = str(self.client_ca_file), VerifyMode.CERT_REQUIRED
        config.alpn_protocols = ["h2"]
        config.errorlog = None
        config.include_server_header = False
        config.keep_alive_timeout = 3600
        config.keep_alive_max_requests = 1_000_000
        config.graceful_timeout = 1
        self._loop.set_exception_handler(lambda *_: None)  # Refused handshakes are what some tests are about.
        is_up.set()
        await serve(self._app, config, shutdown_trigger=self._stopping.wait, mode="asgi")

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body, is_more = body + message.get("body", b""), message.get("more_body", False)
        headers = [(name.decode(), value.decode()) for name, value in scope["headers"]]
        path = scope["path"]
        push = Push(
            scope["method"],
            path,
            path.removeprefix(PATH),
            [pair for pair in headers if not pair[0].startswith(":")],
            body,
            tuple(scope["client"]),
            scope["http_version"],
        )
        self.pushes.append(push)
        answer = self._answer(push)
        if answer.status == 200:
            self.accepted.append(push)
        if answer.hangs:
            await self._stopping.wait()
            return
        said = [("apns-id", dict(headers).get("apns-id", ""))]
        if answer.retry_after is not None:
            said.append(("retry-after", str(answer.retry_after)))
        raw = [(name.encode(), value.encode()) for name, value in said]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": answer.body})

    def _answer(self, push: Push) -> Answer:
        headers = dict(push.headers)
        if push.method != "POST":
            return Answer(405, "MethodNotAllowed")
        if not push.path.startswith(PATH):
            return Answer(404, "BadPath")
        if not push.token:
            return Answer(400, "MissingDeviceToken")
        if "apns-topic" not in headers:
            return Answer(400, "MissingTopic")
        if headers["apns-topic"] != self.topic:
            return Answer(400, "TopicDisallowed")
        if push.body != b"{}":
            return Answer(400, "PayloadEmpty")
        if push.token in self.by_token:
            return self.by_token[push.token]
        if self.always is not None:
            return self.always
        return next((answer for prefix, answer in BY_PREFIX.items() if push.token.startswith(prefix)), OK)


@contextmanager
def fake_apns(clients: DevCertificates, folder: Path) -> Iterator[FakeApns]:
    """Runs in a thread on a free port. Lets in who has a certificate under the root of `clients`.

    Args:
        folder: Where the server's throw-away certificate is written.
    """
    ca_file, certificate, key = (folder / f"apns-{name}.pem" for name in ("ca", "certificate", "key"))
    _write_certificate(ca_file, certificate, key)
    client_ca_file = folder / "apns-clients.pem"
    client_ca_file.write_bytes(clients.files.wwdr.read_bytes() + clients.root.read_bytes())
    fake = FakeApns(0, clients.files.pass_type_id, ca_file, certificate, key, client_ca_file)
    fake.start()
    try:
        yield fake
    finally:
        fake.stop()


def _write_certificate(ca_file: Path, certificate: Path, key: Path) -> None:
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Throw-away push CA", "Fake APNs")
    )
    sans = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address(HOST))])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    ca = _builder(ca_name, ca_key, ca_name, ca_key, is_authority=True).sign(ca_key, SHA256())
    server = _builder(name, server_key, ca_name, ca_key, is_authority=False)
    server = server.add_extension(sans, critical=False).add_extension(usage, critical=False)
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    certificate.write_bytes(server.sign(ca_key, SHA256()).public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _builder(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
