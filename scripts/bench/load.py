"""The load: requests made ready, and sent by wrk."""

import json
import socket
import subprocess

# How many different requests a scenario has: as many users and sessions are drawn.
REQUESTS = {"save": 100_000}
REQUESTS_OF_OTHERS = 20_000
# How many of them must first be asked for the tags of what is there.
TAGGED = 2_000


class Load:
    def __init__(self, programs, here, work, users):
        self.programs, self.here, self.work, self.users = programs, here, work, users

    def requests(self, rival, scenario, seed):
        """A file of requests, made anew only where it depends on what is stored."""
        path = self.work / f"{rival.kind}-{scenario}.requests"
        command = [self.programs / "requests", rival.kind, scenario, str(self.users)]
        if scenario == "unchanged" and rival.kind == "rest":
            command += [str(TAGGED), str(seed), rival.address]
        elif path.exists():
            return path
        else:
            command += [str(REQUESTS.get(scenario, REQUESTS_OF_OTHERS)), "1"]
        with path.open("wb") as out:
            subprocess.run(command, stdout=out, check=True)
        return path

    def run(self, rival, scenario, connections, seconds, seed):
        """What wrk tells of `seconds` of it."""
        path = self.requests(rival, scenario, seed)
        threads = min(connections, 2)
        command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
        command += ["-s", self.here / "draw.lua", f"http://{rival.address}", "--", path, str(seed)]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        line = next(line for line in output.splitlines() if line.startswith("RESULT "))
        result = json.loads(line.removeprefix("RESULT "))
        if result["refused"] or result["failed"] or not result["requests"]:
            raise SystemExit(f"FAILED: {rival.name}, {scenario}, {connections} connections: {line}")
        return result

    def until_gone(self, rival, scenario, connections, seconds):
        """As `run`, on a server that goes away in the midst of it."""
        try:
            self.run(rival, scenario, connections, seconds, seed=1)
        except (SystemExit, subprocess.CalledProcessError):
            pass

    def one(self, rival, scenario, seed):
        """The status and the body of one answer, for a request that `seed` decides."""
        command = [self.programs / "requests", rival.kind, scenario, str(self.users), "1", str(seed)]
        output = subprocess.run(command + [rival.address], capture_output=True, check=True).stdout
        host, port = rival.address.split(":")
        with socket.create_connection((host, int(port)), timeout=10) as stream:
            stream.sendall(output.rstrip(b"\0").replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            answer = stream.makefile("rb")
            status = int(answer.readline().split()[1])
            chunked = False
            while (line := answer.readline().strip()):
                chunked |= line.lower() == b"transfer-encoding: chunked"
            return status, dechunked(answer) if chunked else answer.read()


def dechunked(answer):
    body = b""
    while size := int(answer.readline(), 16):
        body += answer.read(size)
        answer.readline()
    return body
