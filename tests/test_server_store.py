"""The table is the truth: on SQLite and on a real PostgreSQL, nothing is lost, done twice or stuck."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from longtake.errors import OutputError, RequestError
from longtake.server import jobs, keys, queue
from longtake.server.app import claim_folder
from longtake.server.files import Storage
from longtake.server.queue import Watch
from longtake.server.schema import deliveries, garbage, metadata, webhooks
from longtake.server.store import Writer, new_id, open_database, read, write

ROOM = jobs.Room(1000, 1000, 0)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of Debian's package, with its own folder and socket."""
    found = [
        *Path("/usr/lib/postgresql").glob("*/bin/postgres"),
        *map(Path, filter(None, [shutil.which("postgres")])),
    ]
    if not found:
        pytest.skip("PostgreSQL is not installed: apt install postgresql")
    binaries = found[0].resolve().parent
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    folder = Path("/tmp") / f"longtake-pg-{os.getpid()}"
    folder.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run: Any = {"user": user if os.getuid() == 0 else None, "cwd": folder, "capture_output": True}
    try:
        subprocess.run(
            [binaries / "initdb", "-D", folder / "db", "-U", "postgres", "-A", "trust", "-N"],
            check=True,
            **run,
        )
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        start = [binaries / "pg_ctl", "-D", folder / "db", "-o", options, "-w", "-l", folder / "log", "start"]
        subprocess.run(start, check=True, **run)
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
        subprocess.run([binaries / "pg_ctl", "-D", folder / "db", "-m", "immediate", "stop"], **run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        opened = open_database(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    else:
        opened = open_database(request.getfixturevalue("postgres"))
        metadata.drop_all(opened)
        metadata.create_all(opened)
    yield opened
    opened.dispose()


def draft(owner: str = "a", digest: str = "d", **more: Any) -> jobs.Draft:
    return jobs.Draft(owner, {"prompt": "x"}, "sora-2", "x", "4", "1280x720", digest, new_id("video"), **more)


def add(engine: Engine, owner: str = "a", **more: Any) -> str:
    row, _ = write(engine, lambda c: jobs.create(c, draft(owner, **more), ROOM))
    id: str = row["id"]
    return id


def claim(engine: Engine, worker: str = "w") -> queue.Lease:
    lease = write(engine, lambda c: queue.claim(c, worker))
    assert lease is not None
    return lease


def test_each_job_is_claimed_once_by_many_workers(engine: Engine) -> None:
    made = {add(engine) for _ in range(40)}
    taken: list[str] = []

    def work(name: str) -> None:
        while (lease := write(engine, lambda c: queue.claim(c, name))) is not None:
            taken.append(lease.id)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # PostgreSQL may answer "nothing" to a claim that lost a race; the next claim finds the job
    while (lease := write(engine, lambda c: queue.claim(c, "last"))) is not None:
        taken.append(lease.id)
    assert sorted(taken) == sorted(made)


def test_owners_take_turns(engine: Engine) -> None:
    many = [add(engine, "many") for _ in range(5)]
    few = [add(engine, "few") for _ in range(2)]
    order = [claim(engine).id for _ in range(7)]
    assert order == [many[0], few[0], many[1], few[1], *many[2:]]


def test_a_newcomer_does_not_wait_behind_a_long_queue(engine: Engine) -> None:
    many = [add(engine, "many") for _ in range(6)]
    assert [claim(engine).id for _ in range(3)] == many[:3]
    late = add(engine, "late")
    assert late in [claim(engine).id for _ in range(2)]


def test_a_worker_that_lost_its_lease_changes_nothing(engine: Engine) -> None:
    id = add(engine)
    old = claim(engine, "old")
    assert write(engine, lambda c: queue.release(c, old, 3, "silent"))
    new = claim(engine, "new")
    assert (new.id, new.attempt) == (id, 2)
    assert not write(engine, lambda c: queue.beat(c, old, 50, "", "", None))
    assert not write(engine, lambda c: queue.finish(c, old, {}, "4", "1280x720", 0))
    assert not write(engine, lambda c: queue.give_up(c, old, "x", "x"))
    assert not write(engine, lambda c: queue.release(c, old, 3, "x"))
    assert write(engine, lambda c: queue.beat(c, new, 50, "denoise", "", b"jpeg"))
    assert write(engine, lambda c: queue.finish(c, new, {"files": {}}, "4", "1280x720", 0))
    assert not write(engine, lambda c: queue.finish(c, new, {}, "4", "1280x720", 0))
    row = read(engine, lambda c: jobs.get(c, "a", id))
    assert (row["status"], row["progress"], row["attempt"]) == ("completed", 100, 2)


def test_three_attempts_and_a_stopped_server_is_none(engine: Engine) -> None:
    id = add(engine)
    for _ in range(2):
        lease = claim(engine)
        write(engine, lambda c, one=lease: queue.release(c, one, 3, "stopped", counts=False))
    for _ in range(3):
        lease = claim(engine)
        write(engine, lambda c, one=lease: queue.release(c, one, 3, "the worker died"))
    row = read(engine, lambda c: jobs.get(c, "a", id))
    assert (row["status"], row["error_code"], row["attempt"]) == ("failed", "worker_lost", 5)
    assert write(engine, lambda c: queue.claim(c, "w")) is None


def test_deleting_and_cancelling_a_running_job_takes_its_lease(engine: Engine) -> None:
    for change in (jobs.remove, jobs.cancel):
        id = add(engine)
        lease = claim(engine)
        write(engine, lambda c, do=change, id=id: do(c, "a", id))
        assert not write(engine, lambda c, one=lease: queue.beat(c, one, 1, "", "", None))
    assert read(engine, lambda c: c.execute(select(garbage)).all())


def test_the_watch_reads_no_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    lease = queue.Lease("a", 1, "w", {}, "m")
    watch = Watch(10)
    monkeypatch.setattr("time.time", lambda: 4e9)  # a clock that jumped decades ahead
    assert watch.stale([(lease, 1)], 0.0) == []
    assert watch.stale([(lease, 2)], 9.0) == []
    assert watch.stale([(lease, 2)], 18.0) == []
    assert watch.stale([(lease, 2)], 19.5) == [lease]


def test_idempotency_and_marked_retries(engine: Engine) -> None:
    first = add(engine, idempotency="k")
    assert add(engine, idempotency="k") == first
    assert add(engine, "b", idempotency="k") != first
    with pytest.raises(jobs.ConflictError):
        add(engine, idempotency="k", digest="other")
    plain = add(engine, digest="same")
    assert add(engine, digest="same", is_retry=True) == plain
    assert add(engine, digest="same") != plain


def test_room(engine: Engine) -> None:
    for room, wait in ((jobs.Room(1, 9, 0), 30), (jobs.Room(9, 1, 0), 30), (jobs.Room(9, 9, 1), None)):
        write(
            engine,
            lambda c: c.execute(metadata.tables["jobs"].delete()),
        )
        write(engine, lambda c, room=room: jobs.create(c, draft(), room))
        with pytest.raises(jobs.FullError) as caught:
            write(engine, lambda c, room=room: jobs.create(c, draft(), room))
        assert caught.value.wait == wait


@pytest.mark.parametrize("room", [jobs.Room(3, 9, 0), jobs.Room(9, 3, 0)])
def test_a_gap_in_the_queue_is_room(engine: Engine, room: jobs.Room) -> None:
    def ask() -> str:
        return str(write(engine, lambda c: jobs.create(c, draft(), room))[0]["id"])

    _, middle, _ = (ask() for _ in range(3))
    with pytest.raises(jobs.FullError):
        ask()
    write(engine, lambda c: jobs.remove(c, "a", middle))  # the ends of the queue are as far apart as before
    ask()
    with pytest.raises(jobs.FullError):
        ask()


def test_others_jobs_are_not_there(engine: Engine) -> None:
    id = add(engine)
    for change in (jobs.get, jobs.remove, jobs.cancel):
        with pytest.raises(jobs.MissingError):
            write(engine, lambda c, do=change: do(c, "b", id))


def test_an_end_and_its_event_are_one_commit(engine: Engine) -> None:
    write(
        engine,
        lambda c: c.execute(insert(webhooks).values(id="h", owner="a", url="u", secret="s", created_at=0)),
    )
    add(engine)
    lease = claim(engine)
    with pytest.raises(ZeroDivisionError):

        def broken(connection: Any) -> None:
            queue.finish(connection, lease, {"files": {}}, "4", "1280x720", 0)
            raise ZeroDivisionError

        write(engine, broken)
    assert not read(engine, lambda c: c.execute(select(deliveries)).all())
    assert write(engine, lambda c: queue.finish(c, lease, {"files": {}}, "4", "1280x720", 0))
    assert len(read(engine, lambda c: c.execute(select(deliveries)).all())) == 1


def test_the_writer_commits_many_and_refuses_one(engine: Engine) -> None:
    writer = Writer(engine)
    futures = [writer.submit(lambda c: jobs.create(c, draft(), ROOM)) for _ in range(20)]
    refused = writer.submit(lambda c: jobs.get(c, "a", "none"))
    after = writer.submit(lambda c: jobs.create(c, draft(), ROOM))
    assert all(future.result(10)[1] for future in [*futures, after])
    with pytest.raises(jobs.MissingError):
        refused.result(10)
    assert read(engine, jobs.counts)["queued"] == 21
    writer.close()


def test_keys_are_kept_as_hashes(engine: Engine) -> None:
    ring = keys.KeyRing(engine)
    assert ring.is_open()
    key = write(engine, lambda c: keys.create(c, "anna"))
    with pytest.raises(RequestError, match="already"):
        write(engine, lambda c: keys.create(c, "anna"))
    stored = read(engine, lambda c: str(c.execute(select(metadata.tables["keys"])).all()))
    assert key not in stored and keys.fingerprint(key) in stored
    assert ring.find(key) is not None and ring.find("lt-wrong") is None and ring.find("") is None
    write(engine, lambda c: keys.revoke(c, "anna"))
    assert ring.find(key) is None and not ring.is_open()


def test_two_servers_cannot_share_a_folder(tmp_path: Path) -> None:
    with (
        claim_folder(tmp_path) as name,
        pytest.raises(OutputError, match="another server"),
        claim_folder(tmp_path),
    ):
        pass
    with claim_folder(tmp_path) as again:
        assert again == name


def test_a_wrong_database_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be used"):
        open_database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(OutputError, match="does not exist"):
        open_database(f"sqlite:///{tmp_path}/none/jobs.sqlite")
    with pytest.raises(RequestError):
        open_database("nonsense")


def test_storage_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(tmp_path / "films"))
    given = tmp_path / "given.mp4"
    given.write_bytes(b"x" * 1000)
    storage.put(given, "video_1/attempt-1/video.mp4")
    storage.copy("video_1/attempt-1/video.mp4", "video_2/inputs/video.mp4")
    storage.remove("video_1")
    storage.remove("video_1")
    assert b"".join(storage.read("video_2/inputs/video.mp4", 10, 20)) == b"x" * 10

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(OutputError, match="cannot be stored"):
        storage.put(given, "video_3/attempt-1/video.mp4")
    assert not storage.exists("video_3/attempt-1/video.mp4")
    assert not list((tmp_path / "films").rglob("*.partial"))
    with pytest.raises(AssertionError):
        storage.size("../../etc/passwd")
