"""Answers that go on as long as somebody reads them: a few at once for each key, and never in the place of a till."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from api.dependencies import AnyPrincipal, TheParts
from api.errors import TooManyStreams
from api.middleware import leave_place

STREAMS_PER_KEY = 2
RETRY_SECONDS = 10


class Stream:
    """The answer to one request, should it be a long one.

    Args:
        open_: How many each key has open, in this process.
    """

    def __init__(self, request: Request, whose: UUID | str, open_: Counter[UUID | str]) -> None:
        self._request = request
        self._whose = whose
        self._open = open_
        self._is_open = False

    def begin(self) -> None:
        """From here on the request is counted among the streams of its key, and no more among those worked on.

        Raises: TooManyStreams, where the key has as many as it may.
        """
        if self._open[self._whose] >= STREAMS_PER_KEY:
            raise TooManyStreams(retry_after_seconds=RETRY_SECONDS)
        self._open[self._whose] += 1
        self._is_open = True
        leave_place(self._request.scope)

    def end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._open[self._whose] -= 1
            self._open += Counter()  # Drops whoever has none.


async def _stream(request: Request, principal: AnyPrincipal, parts: TheParts) -> AsyncIterator[Stream]:
    stream = Stream(request, principal.key_id or principal.kind, parts.streams)
    try:
        yield stream
    finally:  # Behind the last byte, or when the reader has gone.
        stream.end()


TheStream = Annotated[Stream, Depends(_stream)]
