"""What should make no difference: a staff session, all load on one card, a second process, the length of a history.

A card allows a thousand stamps a day, so the load on one card is purchases, and so is what it is compared with.
"""

from dataclasses import replace
from functools import partial
from statistics import median

from tests.benchmarks import load
from tests.benchmarks.bench import Bench, Shop
from tests.benchmarks.figures.stamps import CARDS, stamping
from tests.benchmarks.measuring import Figure, Window, at_least, at_most, compared, spaced
from tests.benchmarks.servers import service, wait_for_tables, whole_service
from tests.callers import VENDOR

NAME = "cards"
PURCHASE = '{"card": "CARD", "purchase_amount_minor": 1250, "currency": "EUR"}'
LONG_HISTORY = 5_000
SHORT_HISTORY = 10
CARDS_OF_EACH_LENGTH = 40


def measure(bench: Bench) -> list[Figure]:
    return [*_sessions_and_hot_card(bench), *_processes(bench), *_histories(bench)]


def _sessions_and_hot_card(bench: Bench) -> list[Figure]:
    with bench.database("fast", upgraded=True) as url, whole_service(url) as running:
        shop = Shop.opened(running)
        token = shop.session()

        def stamps(*, with_session: bool) -> Window:
            asking = stamping(shop, _fresh(shop), seconds=bench.seconds)
            headers = {**asking.headers, "Staff-Session": token} if with_session else asking.headers
            return load.run(replace(asking, headers=headers))

        def purchases(cards: int) -> Window:
            asking = stamping(shop, _fresh(shop)[:cards], seconds=bench.seconds)
            return load.run(replace(asking, path=f"{VENDOR}/points", body=PURCHASE))

        measured = bench.interleave(
            {
                "stamps with a staff session": lambda: stamps(with_session=True),
                "stamps without": lambda: stamps(with_session=False),
                "purchases on one card": lambda: purchases(1),
                "purchases on 10 000 cards": lambda: purchases(CARDS),
            }
        )
    with_, without = measured["stamps with a staff session"], measured["stamps without"]
    one, many = measured["purchases on one card"], measured["purchases on 10 000 cards"]
    return [
        compared(NAME, "stamp with staff session ÷ without", ("with", with_), ("without", without), at_least(0.85)),
        compared(NAME, "purchases on one card ÷ on 10 000", ("one", one), ("10 000", many), at_least(0.8)),
    ]


def _fresh(shop: Shop) -> list[str]:
    cards = shop.rested(CARDS)
    wait_for_tables(shop.database_url)
    return cards


def _processes(bench: Bench) -> list[Figure]:
    """Without a projector on either side: what is compared is answering."""
    with (
        bench.database("fast", upgraded=True) as url,
        bench.database("fast", upgraded=True) as other_url,
        service(url, "serve", "--workers", "2") as two,
        service(other_url, "serve") as one,
    ):
        shops = {"two processes": Shop.opened(two), "one process": Shop.opened(one)}

        def stamps(name: str) -> Window:
            shop = shops[name]
            return load.run(stamping(shop, shop.rested(CARDS), seconds=bench.seconds))

        measured = bench.interleave({name: partial(stamps, name) for name in shops})
    two_, one_ = measured["two processes"], measured["one process"]
    return [compared(NAME, "two processes ÷ one", ("two", two_), ("one", one_), at_least(0.8))]


def _histories(bench: Bench) -> list[Figure]:
    """Cards nobody touched since the service started, one after the other, long and short in turns."""
    count = CARDS_OF_EACH_LENGTH // (4 if bench.is_quick else 1)
    with bench.database("fast", upgraded=True) as url:
        with service(url, "serve") as running:
            shop = Shop.opened(running)
            warm = shop.cards(200)
            bench.say(f"writing {count} cards of {LONG_HISTORY} events")
            long, short = shop.cards(count, LONG_HISTORY), shop.cards(count, SHORT_HISTORY)
        with service(url, "serve") as running:
            shop = replace(shop, till=shop.till.at(running.http))
            once = replace(stamping(shop, warm, seconds=30, clients=1), once=True)
            load.ask(once)  # Connections and code, but none of these cards.
            in_turns = [card for pair in zip(long, short, strict=True) for card in pair]
            told = load.ask(replace(once, cards=in_turns))
    assert set(told.statuses) == {"201"}, told.odd
    long_ms = median(told.latencies[0::2]) * 1000
    short_ms = median(told.latencies[1::2]) * 1000
    bench.say(f"cold: {long_ms:.2f} ms after {LONG_HISTORY} events, {short_ms:.2f} ms after {SHORT_HISTORY}")
    note = f"{long_ms:.2f} ms, {short_ms:.2f} ms; medians of {count} cards each"
    name = f"first stamp of a card of {spaced(LONG_HISTORY)} events ÷ of {SHORT_HISTORY}"
    return [Figure(NAME, name, [long_ms / short_ms], at_most(1.2), note=note)]
