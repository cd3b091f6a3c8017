"""Table apple_device_registrations: which phones want to hear about which pass.

No event of the stream writes it yet: a registration belongs to the wallet pass, which has none so far.
"""

from uuid import UUID

from projections.table import Queries, Row, dicts

COLUMNS = (
    "id, card_id, device_library_identifier, push_token, pass_type_identifier, serial_number, created_at, updated_at"
)


async def list_of_card(queries: Queries, card_id: UUID) -> list[Row]:
    """A card's phones, oldest first.

    Raises: StoreAway where the database is away; asking again is safe.
    """
    sql = f"SELECT {COLUMNS} FROM apple_device_registrations WHERE card_id = %s ORDER BY created_at, id"
    return dicts(COLUMNS, await queries.rows(sql, (card_id,)))
