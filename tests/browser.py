"""A browser without a window: it keeps cookies as one does, and says where a request comes from."""

from typing import Any

import httpx2


class Browser:
    """Cookies of one host, by name. `forget` what it was told, or copy them to be a thief."""

    def __init__(self, http: httpx2.Client, cookies: dict[str, str] | None = None) -> None:
        self.http = http
        self.cookies = dict(cookies or {})
        self.told: list[str] = []  # The Set-Cookie headers, as they came.

    def get(self, path: str, **headers: str) -> httpx2.Response:
        return self.send("GET", path, headers)

    def submit(self, path: str, site: str | None = "same-origin", **fields: str) -> httpx2.Response:
        """Send a form that stands on a page of this site, or of another one."""
        return self.send("POST", path, {} if site is None else {"Sec-Fetch-Site": site}, data=fields)

    def fetch(
        self, method: str, path: str, body: Any = None, *, site: str | None = "same-origin", **headers: str
    ) -> httpx2.Response:
        """What a script of this site asks, or of another one."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        said |= {} if site is None else {"Sec-Fetch-Site": site}
        return self.send(method, path, said, **({} if body is None else {"json": body}))

    def send(self, method: str, path: str, headers: dict[str, str], **content: Any) -> httpx2.Response:
        if self.cookies:
            headers = {**headers, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        answer = self.http.request(method, path, headers=headers, **content)
        for said in answer.headers.get_list("set-cookie"):
            self.told.append(said)
            name, _, rest = said.partition("=")
            value = rest.partition(";")[0]
            if "Max-Age=0" in said:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer
