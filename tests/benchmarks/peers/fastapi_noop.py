"""FastAPI that reads the body of a stamp and does nothing.

It is what the framework itself costs: no service written with it can be faster.
"""

from http import HTTPStatus

from fastapi import FastAPI

from api.vendor.stamps import StampRequest

app = FastAPI()


@app.post("/stamps", status_code=HTTPStatus.CREATED)
async def stamp(asked: StampRequest) -> dict[str, str]:
    return {"card": asked.card}
