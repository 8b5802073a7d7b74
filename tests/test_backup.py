"""Backup, restore and the move to another database: of real installations, by the commands, as a person runs them."""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.servers import Server, ServerMissing, postgres, wait_until
from labeler.services.restore import BadBackup, check_digests, open_backup
from tests.backing_up import HALF_ANSWERS, NEW_ROWS, ROOT, Installation


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    try:
        with postgres() as running:
            yield running
    except ServerMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def database(server: Server) -> str:
    """The address of a new, empty database."""
    import psycopg

    name = f"of_a_test_{secrets.token_hex(6)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url.rpartition("/")[0] + f"/{name}"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, bytes]:
    """An installation on SQLite, and its backup. Not to be changed."""
    folder = tmp_path_factory.mktemp("furnished")
    here = Installation(folder / "data")
    here.furnish(folder / "pictures")
    here.command("backup", str(folder / "a.backup"))
    assert (folder / "a.backup").stat().st_mode & 0o777 == 0o600
    here.kept = here.digests()
    return here, (folder / "a.backup").read_bytes()


def documented(section: str) -> list[str]:
    text = (ROOT / "docs" / "operations.md").read_text().split(f"## {section}")[1].split("\n## ")[0]
    return re.findall(r"```\n(.*?)```", text, re.S)


def test_it_is_never_committed():
    """It holds everybody's answers and password hashes; what docs/operations.md makes in the checkout is ignored."""
    made = {word for block in documented("Backup") for word in re.findall(r"\bbackup/[\w.-]+", block)}
    assert made
    for name in made:
        assert subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False).returncode == 0


def test_all_of_it_comes_back(furnished, tmp_path: Path):
    here, data = furnished
    there = Installation(tmp_path / "there")
    result = there.command("restore", "-", input=data)  # a pipe, as with Docker
    assert b"24 files" not in result.stdout  # 24 images are one pack
    assert b"sign in" in result.stdout and b"webhooks" in result.stdout
    assert there.digests() == here.kept
    assert (tmp_path / "there" / "secret_key").read_text() != (here.folder / "secret_key").read_text()
    there.ask(NEW_ROWS)
    there.command("migrate", "--check")


def test_a_pipe_takes_it(furnished, tmp_path: Path):
    here, _ = furnished
    archive, contents = open_backup(io.BytesIO(here.command("backup", "-").stdout))
    check_digests(archive=archive, contents=contents, report=lambda *_: None)
    assert {table.model for table in contents.tables} >= {"labeler.image", "labeler.user_groups"}
    assert not {"sessions.session"} & {table.model for table in contents.tables}


def test_nothing_is_overwritten_unasked(furnished, tmp_path: Path):
    here, data = furnished
    (tmp_path / "a.backup").write_bytes(data)
    assert b"nothing is overwritten" in here.command("backup", str(tmp_path / "a.backup"), code=1).stderr
    assert b"--replace" in here.command("restore", str(tmp_path / "a.backup"), code=1).stderr
    assert here.digests() == here.kept


def test_replace_leaves_nothing_of_before(furnished, tmp_path: Path):
    here, data = furnished
    (tmp_path / "a.backup").write_bytes(data)
    other = Installation(tmp_path / "other")
    other.furnish(tmp_path / "pictures", count=6)
    other.ask("from labeler.models import User; User.objects.create_user('rosa')")
    other.command("restore", str(tmp_path / "a.backup"), "--replace")
    assert other.digests() == here.kept


def test_it_waits_for_who_is_running(furnished, tmp_path: Path):
    """While PlusMinus runs on a folder, it is not restored there."""
    from labeler.supervisor import only_one

    (tmp_path / "a.backup").write_bytes(furnished[1])
    (tmp_path / "there").mkdir()
    with only_one(tmp_path / "there" / "lock"):
        words = Installation(tmp_path / "there").command("restore", str(tmp_path / "a.backup"), code=1).stderr
    assert b"runs already" in words


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def test_answers_given_meanwhile_are_whole_or_absent(tmp_path: Path, kind: str, request: pytest.FixtureRequest):
    here = Installation(tmp_path / "here", request.getfixturevalue("database") if kind == "postgres" else "")
    here.furnish(tmp_path / "pictures", count=900)
    with here.answering() as count:
        wait_until(lambda: count() > 5, 60, "first answers")
        first = count()
        here.command("backup", str(tmp_path / "a.backup"))
        last = count()
    assert last > first, "nobody answered meanwhile"
    there = Installation(tmp_path / "there")
    there.command("restore", str(tmp_path / "a.backup"))
    answers, halves = json.loads(there.ask(HALF_ANSWERS))
    assert halves == 0
    assert first <= answers <= last


@pytest.mark.servers
def test_into_the_other_kind_of_database_and_back(furnished, tmp_path: Path, database: str):
    here, data = furnished
    (tmp_path / "a.backup").write_bytes(data)
    servers = Installation(tmp_path / "servers", database)
    servers.command("restore", str(tmp_path / "a.backup"))
    assert servers.digests() == here.kept
    servers.command("backup", str(tmp_path / "b.backup"))
    back = Installation(tmp_path / "back")
    back.command("restore", str(tmp_path / "b.backup"))
    assert back.digests() == here.kept
    servers.ask(NEW_ROWS)  # keys go on after the highest


@pytest.mark.servers
def test_a_move_takes_every_row(furnished, tmp_path: Path, database: str):
    here, _ = furnished
    words = here.command("move", "--to", database).stdout.decode()
    assert "as many as here" in words
    assert f"SECRET_KEY to what is in {here.folder / 'secret_key'}" in words  # without it nothing starts there
    there = Installation(here.folder, database)  # the files stay where they are
    assert there.digests() == here.kept
    there.ask(NEW_ROWS)
    assert b"already" in here.command("move", "--to", database, code=1).stderr


@pytest.mark.servers
def test_what_a_database_refuses_moves_nothing(tmp_path: Path, database: str):
    """SQLite keeps a text of any length; PostgreSQL does not."""
    here = Installation(tmp_path / "here")
    here.furnish(tmp_path / "pictures", count=4)
    here.ask("from labeler.models import Image; Image.objects.filter(name__endswith='001.png').update(name='x' * 600)")
    words = here.command("move", "--to", database, code=1).stderr.decode()
    assert "labeler.image" in words
    assert "Nothing was moved" in words
    there = Installation(tmp_path / "here", database)
    assert there.ask("from labeler.models import User; print(User.objects.count())") == "0"


@pytest.mark.parametrize("address", ["sqlite:////tmp/a", "nonsense", "postgres://127.0.0.1:1/none"])
def test_a_move_to_nowhere_says_so(furnished, address: str):
    here, _ = furnished
    assert here.command("move", "--to", address, code=1).stderr.startswith(b"CommandError")


# --- Damaged and hostile files: pure reading, without an installation ----------------------------------------------


def rewritten(data: bytes, change) -> bytes:
    """The backup with its members as `change(name -> bytes)` leaves them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def with_list(data: bytes, change) -> bytes:
    def edit(members):
        listed = json.loads(members["backup.json"])
        change(listed, members)
        members["backup.json"] = json.dumps(listed).encode()

    return rewritten(data, edit)


def refused(data: bytes) -> str:
    with pytest.raises(BadBackup) as error:
        archive, contents = open_backup(io.BytesIO(data))
        check_digests(archive=archive, contents=contents, report=lambda *_: None)
    return str(error.value)


def some_file(members: dict[str, bytes]) -> str:
    return next(name for name in members if name.endswith(".pack"))


@pytest.mark.parametrize("cut", [0, 100, 0.5, -1])
def test_one_that_was_cut_off(furnished, cut):
    data = furnished[1]
    assert "backup" in refused(data[: int(len(data) * cut) if isinstance(cut, float) else cut])


def test_one_flipped_bit_of_an_image(furnished):
    data = bytearray(furnished[1])
    with zipfile.ZipFile(io.BytesIO(furnished[1])) as archive:
        info = archive.getinfo(some_file(dict.fromkeys(archive.namelist(), b"")))
    data[info.header_offset + 400] ^= 1
    assert "damaged" in refused(bytes(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.update({some_file(members): b"other"}),
        lambda members: members.pop(some_file(members)),
        lambda members: members.update({"files/more": b"more"}),
        lambda members: members.update({"rows/labeler.user.jsonl": b"[1]\n"}),
    ],
)
def test_what_is_not_as_its_list_says(furnished, change):
    assert "damaged" in refused(rewritten(furnished[1], change))


@pytest.mark.parametrize(
    "name", ["../../escaped", "/etc/escaped", "a/../../escaped", "a//b", "./a", "a\\..\\b", "C:/a", "a\x00b", ""]
)
def test_a_name_that_leads_elsewhere(furnished, name: str):
    def add(listed, members):
        path, content = f"files/{name}", b"evil"
        members[path.partition("\x00")[0]] = content
        listed["files"].append({"path": path, "size": 4, "sha256": hashlib.sha256(content).hexdigest()})

    words = refused(with_list(furnished[1], add))
    assert "elsewhere" in words or "\x00" in name


def test_one_of_other_tables_or_another_version(furnished):
    assert "tables" in refused(with_list(furnished[1], lambda listed, _: listed["tables"].pop()))
    assert "version" in refused(with_list(furnished[1], lambda listed, _: listed.update(version=99)))
    assert "no list" in refused(with_list(furnished[1], lambda listed, _: listed.pop("tables")))
    assert "no whole backup" in refused(with_list(furnished[1], lambda listed, _: listed.update(tables=7)))


def test_rows_that_no_database_takes_change_nothing(furnished, tmp_path: Path):
    """Well-made, with right digests, and still wrong: the database is as it was, and no file is left behind."""
    there = Installation(tmp_path / "there")
    there.command("migrate", "--noinput")
    for rows in (b'["x"]\n', b'{"a": 1}\n', b'[1, 99, 99, "annotator", "2026-01-01T00:00:00+00:00", null, false]\n'):

        def edit(listed, members, rows=rows):
            table = next(row for row in listed["tables"] if row["model"] == "labeler.membership")
            members[table["member"]["path"]] = rows
            table["member"].update(size=len(rows), sha256=hashlib.sha256(rows).hexdigest())
            table["rows"] = 1

        words = there.command("restore", "-", input=with_list(furnished[1], edit), code=1).stderr
        assert words.startswith(b"CommandError")
        assert there.ask("from labeler.models import User; print(User.objects.count())") == "0"
        assert not [path for path in (tmp_path / "there" / "files").rglob("*") if path.is_file()]


def test_a_file_that_is_no_backup(tmp_path: Path):
    (tmp_path / "a.zip").write_bytes(b"hello")
    there = Installation(tmp_path / "there")
    for name, words in (("a.zip", b"no whole backup"), ("none", b"cannot be read")):
        assert words in there.command("restore", str(tmp_path / name), code=1).stderr
