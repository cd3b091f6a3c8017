"""Where to look at the demo: the address of each kind of page, ready to be opened."""

import psycopg

from api.demo_shop import CODE
from api.doors import make_link_for
from ledger.seal import MasterKey

PROGRAMS = """
SELECT p.id, p.name FROM loyalty_programs p JOIN vendors v ON v.id = p.vendor_id
WHERE v.code = %s AND p.is_active ORDER BY p.id
"""
CARD = """
SELECT qr_code_data FROM loyalty_cards WHERE program_id = %s AND status = 'active' AND qr_code_data IS NOT NULL
ORDER BY stamp_count DESC, points_balance DESC, id LIMIT 1
"""


def addresses(url: str, master_key: MasterKey, *, public_url: str) -> str:
    """Lines to print: joining and a card of each of the demo's programs, and the doors of shop, till, administration.

    The link into the shop is made for this, and can be used once, within 15 minutes.

    Args:
        url: The database, with the demo in it and the query tables caught up.
        public_url: As in the settings.

    Raises: VendorUnknown where there is no demo.
    """
    link, expires_at = make_link_for(url, master_key, CODE, public_url=public_url)
    shown: list[tuple[str, str]] = []
    with psycopg.connect(url) as connection:
        for program_id, name in connection.execute(PROGRAMS, (CODE,)).fetchall():
            shown.append((f"Join {name}", f"{public_url}/j/{program_id}"))
            for (token,) in connection.execute(CARD, (program_id,)):
                shown.append((f"A card of {name}", f"{public_url}/c/{token}"))
    shown += [
        (f"The shop (once, until {expires_at:%H:%M} UTC)", link),
        ("A till (code: in the shop, Tills and keys)", f"{public_url}/till"),
        ("Administration (with the admin key)", f"{public_url}/admin"),
        ("Audit (with the admin key)", f"{public_url}/audit"),
    ]
    width = max(len(what) for what, _ in shown)
    return "\n".join(f"  {what:{width}}  {address}" for what, address in shown)
