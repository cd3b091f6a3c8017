"""What names a person stands nowhere in clear where the ledger keeps its memory, and a retry is still told it."""

from tests.callers import ok
from tests.service import Service

MEMORY = ("stored_events", "streams", "claims", "idempotency_keys", "subject_keys")
NAME, EMAIL, PHONE, CASHIER = "Léa Weber-Canary", "canary@example.lu", "+352621123456", "Canary at the till"


def test_names_addresses_and_qr_codes_are_kept_sealed_and_told_again(own_service: Service) -> None:
    till = own_service.shop()
    program = till.program()
    enrolment = {"customer": {"name": NAME, "email": EMAIL, "phone": PHONE}}
    asks = [
        (f"/programs/{program['id']}/cards", enrolment, "enrol-1"),
        (f"/programs/{program['id']}/cards", enrolment, "enrol-2"),
        ("/pins", {"staff_id": "marie", "name": CASHIER, "pin": "4071", "role": "staff"}, "pin-1"),
    ]
    first = [ok(till.post(path, body, key=key)) for path, body, key in asks]
    assert first[0]["id"] == first[1]["id"]
    life = [
        (f"/cards/{first[0]['id']}/suspend", {"reason": "lost"}, "life-1"),
        (f"/cards/{first[0]['id']}/replace", {"reason": "lost"}, "life-2"),
    ]
    asks += life
    first += [ok(till.post(path, body, key=key)) for path, body, key in life]
    assert first[-1]["customer"]["email"] == EMAIL

    for (path, body, key), told in zip(asks, first, strict=True):
        again = till.post(path, body, key=key)
        assert (again.json(), again.headers.get("Idempotent-Replayed")) == (told, "true"), path

    tokens = {told["qr_code_data"] for told in first if "qr_code_data" in told}
    assert len(tokens) == 2
    for table in MEMORY:
        kept = str(own_service.rows(f"SELECT * FROM {table}")).lower()
        raw = str(own_service.rows(f"SELECT to_jsonb(t)::text AS row FROM {table} t")).lower()
        for personal in (NAME, EMAIL, PHONE, CASHIER, *tokens):
            for form in (personal.lower(), personal.encode().hex()):
                assert form not in kept and form not in raw, f"{personal} stands in {table}"
