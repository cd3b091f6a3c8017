"""A stamp as one would write it without events: FastAPI, SQLAlchemy, a balance that is locked and changed.

It is as durable as ours and as safe to retry, and has neither authentication, nor rules, nor a chain of digests.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import FastAPI, Header, HTTPException
from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Text, create_engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from api.vendor.stamps import StampRequest
from tests.benchmarks.peers import DATABASE_VARIABLE

CONNECTIONS_MAX = 40  # As many as FastAPI has threads for `def` endpoints.


class Base(DeclarativeBase):
    pass


class Card(Base):
    __tablename__ = "cards"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    stamps: Mapped[int] = mapped_column(BigInteger, default=0)
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Transaction(Base):
    __tablename__ = "transactions"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    card_id: Mapped[UUID] = mapped_column(ForeignKey("cards.id"), index=True)
    type: Mapped[str] = mapped_column(Text)
    stamps_delta: Mapped[int] = mapped_column(BigInteger)
    balance_after: Mapped[int] = mapped_column(BigInteger)
    order_reference: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class IdempotencyKey(Base):
    __tablename__ = "idempotency_keys"
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


engine = create_engine(
    os.environ[DATABASE_VARIABLE].replace("postgresql://", "postgresql+psycopg://", 1),
    pool_size=CONNECTIONS_MAX,
    max_overflow=0,
)
new_session = sessionmaker(engine)
app = FastAPI()


@contextmanager
def transaction() -> Iterator[Session]:
    with new_session() as session, session.begin():
        yield session


@app.post("/stamps", status_code=HTTPStatus.CREATED)
def stamp(asked: StampRequest, idempotency_key: Annotated[str, Header()]) -> dict[str, Any]:
    with transaction() as session:
        known = session.get(IdempotencyKey, idempotency_key)
        if known is not None:
            return known.answer
        card = session.scalar(select(Card).where(Card.id == UUID(asked.card)).with_for_update())
        if card is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        now = datetime.now(UTC)
        card.stamps += asked.count
        card.updated_at = now
        entry = Transaction(
            id=uuid4(),
            card_id=card.id,
            type="stamp_earned",
            stamps_delta=asked.count,
            balance_after=card.stamps,
            order_reference=asked.order_reference,
            created_at=now,
        )
        answer = {"entry_id": str(entry.id), "card_id": str(card.id), "stamps": card.stamps}
        session.add_all([entry, IdempotencyKey(key=idempotency_key, answer=answer, created_at=now)])
        return answer


def prepare(card_ids: list[str]) -> None:
    """Make the tables where they are not there, and the cards."""
    Base.metadata.create_all(engine)
    now = datetime.now(UTC)
    with transaction() as session:
        session.execute(insert(Card), [{"id": UUID(id_), "stamps": 0, "updated_at": now} for id_ in card_ids])


if __name__ == "__main__":
    prepare(sys.stdin.read().split())
