"""The rivals: how each is started, filled and stopped."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

SECRET = "a secret of the benchmark alone, of more than 32 bytes"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Rival:
    """A server in a folder of its own, on a free port of this machine."""

    scenarios = ("list", "history", "save", "unchanged")
    kind = "rest"
    note = ""

    def __init__(self, setup):
        self.setup = setup
        self.folder = setup.work / "data" / self.name
        self.address = f"127.0.0.1:{free_port()}"
        self.running = []

    @property
    def data(self):
        """Where what is stored lies."""
        return self.folder

    @property
    def port(self):
        return self.address.split(":")[1]

    @property
    def roots(self):
        return [process.pid for process in self.running]

    def prepare(self):
        """Fills it, unless it is to be kept as it is, and starts it."""
        filled = self.folder / "filled"
        if filled.exists() and self.setup.keep and filled.read_text() == str(self.setup.users):
            return self.start()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.fill()
        filled.write_text(str(self.setup.users))

    def launch(self, command, env=None, wait=True):
        log = (self.folder / "log").open("ab")
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder)} | (env or {})
        process = subprocess.Popen(
            [str(part) for part in command], stdout=log, stderr=log, env=env, cwd=self.folder
        )
        self.running.append(process)
        end = time.monotonic() + 60
        while wait:
            try:
                return socket.create_connection(("127.0.0.1", int(self.port)), 1).close()
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    last = "".join((self.folder / "log").open().readlines()[-5:])
                    raise SystemExit(f"FAILED: {self.name} did not start: {last}") from None
                time.sleep(0.005)

    def run(self, *command, **options):
        with (self.folder / "log").open("ab") as log:
            arguments = [str(part) for part in command]
            options.setdefault("stdout", log)
            subprocess.run(arguments, stderr=log, cwd=self.folder, check=True, **options)

    def seed(self, *arguments, **options):
        self.run(self.setup.programs / "seed", *arguments, self.setup.users, **options)

    def stop(self):
        for process in reversed(self.running):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running = []


class OrionChat(Rival):
    name, label = "orion-chat", "orion-chat"

    def start(self):
        env = {
            "ORION_SHARED_JWT_SECRET": SECRET,
            "RATE_LIMIT_MAX_REQUESTS": "0",
            "ORION_CHAT_ADMIN_LISTEN": "off",
        }
        data = self.folder / "orion-chat.redb"
        self.launch([self.setup.orion_chat, "--listen", self.address, "--data", data], env)

    def fill(self):
        self.start()
        self.seed("orion", self.address)


class Limit(Rival):
    name, label, kind = "limit", "the limit: axum, constant bytes", "limit"
    scenarios = ("list", "history", "unchanged")

    def start(self):
        sizes = [self.setup.sizes[scenario] for scenario in ("list", "history")]
        # The small body is that of a refusal or of a session that was asked for.
        self.launch([self.setup.programs / "limit", self.address, *sizes, 200])

    def fill(self):
        self.start()


class Sqlite(Rival):
    name, label = "sqlite", "SQLite, axum, group commit"
    scenarios = ("list", "history", "save")
    note = "WAL, synchronous=FULL, memory-mapped, as many readers as cores"

    def start(self):
        self.launch([self.setup.programs / "sqlite", self.address, "sqlite.db"])

    def fill(self):
        self.seed("sqlite", "sqlite.db")
        self.start()


class PocketBase(Rival):
    name, label, kind = "pocketbase", "PocketBase", "pocketbase"
    scenarios = ("list", "history", "save")
    note = "synchronous=NORMAL, so that a save may be lost with the power; it keeps no count of messages"

    def start(self):
        self.launch([*self.command("serve"), f"--http={self.address}"])

    def command(self, verb):
        migrations = self.setup.here / "pocketbase"
        program = self.setup.work / "python/bin/pocketbase"
        return [program, verb, "--dir=pb_data", f"--migrationsDir={migrations}"]

    def fill(self):
        self.run(*self.command("migrate"), "up")
        self.seed("pocketbase", "pb_data/data.db")
        self.start()


class Express(Rival):
    name, label = "express", "Express, PostgreSQL"
    note = "a process for each core, prepared statements, a save in one round trip; PostgreSQL with \
synchronous_commit=on, shared_buffers=512MB, max_wal_size=4GB"

    SETTINGS = {
        "synchronous_commit": "on",
        "fsync": "on",
        "shared_buffers": "512MB",
        "max_wal_size": "4GB",
        "listen_addresses": "",
    }

    def __init__(self, setup):
        super().__init__(setup)
        versions = Path("/usr/lib/postgresql").glob("*/bin")
        self.bin = max(versions, key=lambda path: float(path.parent.name))

    @property
    def data(self):
        # Without its log, of which it keeps more than it needs.
        return self.folder / "pg" / "base"

    def start(self):
        self.start_postgres()
        server = self.setup.here / "express" / "server.mjs"
        env = {"PGHOST": str(self.folder), "PGUSER": "postgres", "PGDATABASE": "postgres"}
        env |= {"SECRET": SECRET, "NODE_ENV": "production"}
        self.launch(["node", server, self.port], env)

    def start_postgres(self):
        settings = {**self.SETTINGS, "unix_socket_directories": str(self.folder)}
        pairs = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.launch([*self.as_user(), self.bin / "postgres", "-D", self.folder / "pg", *pairs], wait=False)
        end = time.monotonic() + 60
        ready = [self.bin / "pg_isready", "-q", "-h", self.folder]
        while subprocess.run(ready, check=False).returncode:
            if time.monotonic() > end:
                raise SystemExit(f"FAILED: PostgreSQL did not start; see {self.folder}/log")
            time.sleep(0.1)

    def as_user(self):
        """PostgreSQL does not run as root."""
        if os.geteuid():
            return []
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def fill(self):
        if not os.geteuid():
            shutil.chown(self.folder, "postgres", "postgres")
        auth = ["--auth=trust", "--username=postgres", "--no-locale", "--encoding=UTF8"]
        self.run(*self.as_user(), self.bin / "initdb", "-D", self.folder / "pg", *auth)
        self.start_postgres()
        self.sql("-f", self.setup.here / "express" / "schema.sql")
        for table in ("sessions", "messages"):
            copy = f"COPY chat_{table} FROM STDIN CSV"
            rows = [self.setup.programs / "seed", "csv", table, str(self.setup.users)]
            with subprocess.Popen(rows, stdout=subprocess.PIPE) as rows:
                self.sql("-c", copy, stdin=rows.stdout)
            if rows.returncode:
                raise SystemExit("FAILED: seed csv")
        self.sql("-f", self.setup.here / "express" / "indexes.sql")
        self.stop()
        self.start()

    def sql(self, *arguments, **options):
        psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-U", "postgres"]
        self.run(*psql, *arguments, **options)


# The first tells the others how long its answers are.
RIVALS = (OrionChat, Limit, Sqlite, PocketBase, Express)
