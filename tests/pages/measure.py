"""`python -m tests.pages.measure`: what the card's page costs among 10 000 cards, and what cards that wait cost.

Budgets: first byte below 30 ms p95; a stamp below 50 ms p95 while 1000 cards wait. Run it on a quiet machine.
"""

import asyncio
import random
import sys
import time
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import httpx2
import psutil

from tests.callers import Ask, at_once, ok
from tests.databases import database, shared_server
from tests.service import service_process

CARDS = 10_000
PAGES = 1_000
WAITING = 1_000
STAMPS = 300
BATCH = 500


def main(cards: int = CARDS, waiting: int = WAITING) -> None:
    with (
        shared_server() as server,
        database(server, upgraded=True) as url,
        TemporaryDirectory() as folder,
        service_process(Path(folder) / "log", url, LOYALTY_ENROLMENTS_PER_HOUR="1000000") as service,
    ):
        till = service.shop()
        program = till.program()
        join = f"/programs/{program['id']}/enrolments"
        tokens: list[str] = []
        while len(tokens) < cards:
            asks = [Ask(service.public, join, {"consent": True}, None) for _ in range(BATCH)]
            answers = at_once(asks, connections=4)
            tokens += [ok(answer)["qr_code_data"] for answer in answers if answer.status_code != 503]
        service.catch_up()
        pages = [first_byte_ms(service.http, random.choice(tokens)) for _ in range(PAGES)]
        print(f"first byte of the card's page among {len(tokens)} cards: {shown(pages)}")
        before = stamped_ms(service.http.base_url, till.key, tokens)
        print(f"a stamp, nobody waiting: {shown(before)}")
        assert service.process is not None
        process = psutil.Process(service.process.pid)
        rss = process.memory_info().rss
        asyncio.run(wait_and_stamp(str(service.http.base_url), till.key, tokens, waiting, process, rss))


def first_byte_ms(http: httpx2.Client, token: str) -> float:
    began = time.perf_counter()
    with http.stream("GET", f"/c/{token}", headers={"Accept": "text/html"}) as answer:
        assert answer.status_code == 200
        chunks = answer.iter_raw()
        next(chunks)
        took = time.perf_counter() - began
        for _ in chunks:  # The rest, so that the connection can be used again.
            pass
    return took * 1000


def stamped_ms(base: object, key: str, tokens: list[str]) -> list[float]:
    headers = {"Authorization": f"Bearer {key}"}
    took = []
    with httpx2.Client(base_url=str(base), headers=headers) as http:
        for number, token in enumerate(random.sample(tokens, min(STAMPS, len(tokens)))):
            began = time.perf_counter()
            answer = http.post(
                "/api/v1/vendor/loyalty/stamps",
                json={"card": token},
                headers={"Idempotency-Key": f"{began}-{number}"},
            )
            took.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 201, answer.text
    return took


async def wait_and_stamp(
    base: str, key: str, tokens: list[str], waiting: int, process: psutil.Process, rss: int
) -> None:
    """So many cards wait, each on a connection of its own, while a till stamps one after the other."""
    host, port = base.removeprefix("http://").strip("/").split(":")
    watched = random.sample(tokens, waiting)
    connections = []
    for token in watched:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /c/{token}/changes HTTP/1.1\r\nHost: {base}\r\n\r\n".encode())
        assert b"200" in await reader.readline()
        connections.append((reader, writer))
    await asyncio.sleep(1)
    used, cpu = process.memory_info().rss - rss, process.cpu_times()
    await asyncio.sleep(5)
    idle = (process.cpu_times().user - cpu.user) / 5
    print(f"{waiting} cards wait: {used / waiting / 1024:.1f} kB each, {idle:.1%} of a processor")
    took = await asyncio.to_thread(stamped_ms, base, key, watched)
    print(f"a stamp of a card that is watched: {shown(took)}")
    for _, writer in connections:
        writer.close()


def shown(milliseconds: list[float]) -> str:
    cuts = quantiles(milliseconds, n=100)
    return f"p50 {cuts[49]:.1f} ms, p95 {cuts[94]:.1f} ms, p99 {cuts[98]:.1f} ms"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
