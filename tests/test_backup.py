"""The backup and restore of docs/operations.md, run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.servers import ServerMissing, manage, postgres, postgres_binaries

ROOT = Path(__file__).resolve().parent.parent
MAKE_USER = "from labeler.models import User; User.objects.create_user('rosa')"
COUNT_USERS = "from labeler.models import User; print(User.objects.filter(username='rosa').count())"


def blocks() -> list[str]:
    section = (ROOT / "docs" / "operations.md").read_text().split("## Backup")[1].split("## Upgrade")[0]
    return re.findall(r"```\n(.*?)```", section, re.S)


def ask(env: dict[str, str], code: str) -> str:
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", code]
    result = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def bare(env: dict[str, str]) -> dict[str, str]:
    return {"DATABASE_URL": "", "REDIS_URL": "", "SECRET_KEY": "", **env}


def test_what_it_makes_in_the_checkout_is_never_committed():
    """It holds the secret key and everybody's answers."""
    made = {Path(word).parts[0] for word in re.findall(r"\bbackup/[\w.]+", "\n".join(blocks()))}
    assert made == {"backup"}
    for name in made:
        ignored = subprocess.run(["git", "check-ignore", "-q", f"{name}/secret_key"], cwd=ROOT, check=False)
        assert ignored.returncode == 0


def test_on_one_machine(tmp_path: Path):
    backup, restore = blocks()[:2]
    env = bare({"DATA_DIR": str(tmp_path / "data")})
    manage(env, "migrate", "--noinput")
    ask(env, MAKE_USER)
    (tmp_path / "data" / "files" / "p").mkdir(parents=True)
    (tmp_path / "data" / "files" / "p" / "a.pack").write_bytes(b"pixels")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)

    subprocess.run(["sh", "-ec", backup], cwd=tmp_path, check=True)
    ask(env, "from labeler.models import User; User.objects.all().delete()")
    shutil.rmtree(tmp_path / "data" / "files")
    key = (tmp_path / "data" / "secret_key").read_text()
    subprocess.run(["sh", "-ec", restore.replace("make up\n", "")], cwd=tmp_path, check=True)

    assert ask(env, COUNT_USERS) == "1"
    assert (tmp_path / "data" / "files" / "p" / "a.pack").read_bytes() == b"pixels"
    assert (tmp_path / "data" / "secret_key").read_text() == key


def test_before_the_first_import(tmp_path: Path):
    """There is no folder of files yet."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "secret_key").write_text("key")
    sqlite3.connect(data / "plusminus.sqlite3").execute("CREATE TABLE a (b)").connection.close()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for commands in blocks()[:2]:
        subprocess.run(["sh", "-ec", commands.replace("make up\n", "")], cwd=tmp_path, check=True)
    assert sorted(path.name for path in data.iterdir()) == ["files", "plusminus.sqlite3", "secret_key"]


@pytest.mark.servers
def test_on_postgres(tmp_path: Path):
    """The two database commands, without the `docker compose exec` before them."""
    dump = re.search(r"exec -T postgres (pg_dump .*) >", blocks()[2])
    restore = re.search(r"exec -T postgres (pg_restore .*) <", blocks()[3])
    assert dump and restore
    try:
        with postgres() as first, postgres() as second:
            env = bare(
                {"DATABASE_URL": first.url, "DATA_DIR": str(tmp_path), "SECRET_KEY": "k3y" + os.urandom(40).hex()}
            )
            manage(env, "migrate", "--noinput")
            ask(env, MAKE_USER)
            for server, command, way in ((first, dump[1], ">"), (second, restore[1], "<")):
                subprocess.run(
                    ["sh", "-ec", f"{postgres_binaries()}/{command} {way} {tmp_path}/plusminus.dump"],
                    env={**os.environ, "PGHOST": "127.0.0.1", "PGPORT": re.search(r":(\d+)/", server.url)[1]},  # type: ignore[index]
                    check=True,
                )
            env["DATABASE_URL"] = second.url
            assert ask(env, COUNT_USERS) == "1"
            manage(env, "migrate", "--check")
    except ServerMissing as error:
        pytest.skip(str(error))
