"""A phone that carries passes, as Apple describes one: it registers, asks what changed, fetches, and compares.

Source: Apple's "Adding a Web Service to Update Passes". Written from that page, not from our server. As a command:
`tests.pocket`.
"""

from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import Any
from uuid import uuid4
from zipfile import ZipFile

import httpx2
import orjson

from wallet_sync.apple_pass import MEDIA_TYPE


@dataclass
class Carried:
    """A pass in the phone."""

    told: dict[str, Any]
    last_modified: str | None  # None where it came as a file.

    @property
    def path(self) -> str:
        return f"{self.told['passTypeIdentifier']}/{self.told['serialNumber']}"

    @property
    def authorization(self) -> str:
        return f"ApplePass {self.told['authenticationToken']}"

    @property
    def changed_at(self) -> datetime:
        return parsedate_to_datetime(self.last_modified)

    def value(self, key: str) -> str:
        return next(str(f["value"]) for group in self.told["storeCard"].values() for f in group if f["key"] == key)


@dataclass
class Phone:
    """`http` asks the service whose address, where the pass names another one, is `base`."""

    http: httpx2.Client
    base: str
    id: str = field(default_factory=lambda: uuid4().hex)
    push_token: str = field(default_factory=lambda: uuid4().hex * 2)
    passes: dict[str, Carried] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)
    tag: str | None = None

    def add(self, downloaded: httpx2.Response) -> Carried:
        """Take in a pass and register for it, as a phone does at once."""
        return self.carry(self._opened(downloaded))

    def carry(self, carried: Carried) -> Carried:
        self.passes[carried.told["serialNumber"]] = carried
        assert self.register(carried).status_code in (200, 201)
        return carried

    def register(self, carried: Carried, **given: Any) -> httpx2.Response:
        return self.ask("POST", self._registration(carried), carried, json={"pushToken": self.push_token}, **given)

    def remove(self, carried: Carried) -> httpx2.Response:
        del self.passes[carried.told["serialNumber"]]
        return self.ask("DELETE", self._registration(carried), carried)

    def refresh(self) -> list[str]:
        """What a phone does when it is woken, or pulled down: ask what changed, and fetch that.

        Returns: The serial numbers it was told.
        """
        type_ = next(iter(self.passes.values())).told["passTypeIdentifier"]
        query = {} if self.tag is None else {"passesUpdatedSince": self.tag}
        changed = self.http.get(f"{self.base}/v1/devices/{self.id}/registrations/{type_}", params=query)
        if changed.status_code == 204:
            assert changed.content == b""
            return []
        assert changed.status_code == 200
        assert changed.headers["content-type"].partition(";")[0] == "application/json"
        told = changed.json()
        assert told["lastUpdated"] != self.tag, "the tag remained the same"
        for serial in told["serialNumbers"]:
            if serial in self.passes:  # Else it was thrown away, and the service does not know yet.
                self.fetch(self.passes[serial])
        self.tag = told["lastUpdated"]
        return list(told["serialNumbers"])

    def fetch(self, carried: Carried) -> int:
        """The pass again, unless it has not changed; what changed in its fields is said. Returns the status."""
        headers = {} if carried.last_modified is None else {"If-Modified-Since": carried.last_modified}
        answer = self.ask("GET", f"passes/{carried.path}", carried, headers=headers)
        if answer.status_code == 200:
            newer = self._opened(answer)
            self.alerts += _changes(carried.told, newer.told)
            self.passes[newer.told["serialNumber"]] = newer
        return answer.status_code

    def ask(self, method: str, path: str, carried: Carried, **given: Any) -> httpx2.Response:
        headers = {"Authorization": carried.authorization, **given.pop("headers", {})}
        return self.http.request(method, f"{self.base}/v1/{path}", headers=headers, **given)

    def _registration(self, carried: Carried) -> str:
        return f"devices/{self.id}/registrations/{carried.path}"

    @staticmethod
    def _opened(answer: httpx2.Response) -> Carried:
        assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
        return Carried(opened(answer.content), answer.headers["last-modified"])


def opened(content: bytes) -> dict[str, Any]:
    """What a pass says."""
    with ZipFile(BytesIO(content)) as archive:
        told: dict[str, Any] = orjson.loads(archive.read("pass.json"))
    return told


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What a phone says of fields whose value is another one, and which have words for it."""
    old, new = ({f["key"]: f for group in told["storeCard"].values() for f in group} for told in (before, after))
    return [
        field["changeMessage"].replace("%@", field["value"])
        for key, field in new.items()
        if "changeMessage" in field and key in old and old[key]["value"] != field["value"]
    ]
