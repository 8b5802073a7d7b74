"""What settings.py makes of the environment, each in a process of its own."""

from __future__ import annotations

import os
import re
import secrets
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GOOD = secrets.token_urlsafe(64)
SERVER = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}


def settings_with(tmp_path: Path, code: str = "", **extra: str) -> subprocess.CompletedProcess[str]:
    """Load the settings with these variables and no others of ours; print what `code` says."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = {**kept, "DATA_DIR": str(tmp_path / "data"), "DJANGO_SETTINGS_MODULE": "labeler.settings", **extra}
    program = f"from django.conf import settings as s; s.DEBUG; {code}"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


# The ids are given: xdist wants every process to name the tests alike, and these keys differ in each.
@pytest.mark.parametrize(
    "key",
    ["", "hunter2", "a" * 80, "django-insecure-" + GOOD, GOOD[:49]],
    ids=["none", "known", "monotonous", "insecure", "short"],
)
def test_a_server_refuses_a_missing_or_weak_secret_key(tmp_path: Path, key: str):
    result = settings_with(tmp_path, **SERVER, SECRET_KEY=key)
    assert result.returncode != 0
    assert "SECRET_KEY is missing or weak" in result.stderr
    assert "secrets.token_urlsafe" in result.stderr  # the way out
    assert not key or key not in result.stderr


def test_a_server_takes_a_strong_secret_key(tmp_path: Path):
    assert settings_with(tmp_path, **SERVER, SECRET_KEY=GOOD).returncode == 0


def test_a_server_makes_no_key_by_itself(tmp_path: Path):
    settings_with(tmp_path, **SERVER)
    assert not (tmp_path / "data" / "secret_key").exists()


def test_on_ones_own_machine_a_key_is_made_once_and_kept_private(tmp_path: Path):
    first, second = (settings_with(tmp_path, "print(s.SECRET_KEY)").stdout for _ in range(2))
    assert first == second and len(first.strip()) >= 50
    other = settings_with(tmp_path, "print(s.SECRET_KEY)", DATA_DIR=str(tmp_path / "other")).stdout
    assert other != first
    assert stat.S_IMODE((tmp_path / "data" / "secret_key").stat().st_mode) == 0o600


@pytest.mark.parametrize("extra", [{}, {"SECRET_KEY": GOOD}], ids=["own key", "given key"])
def test_a_new_data_folder_is_nobody_elses_to_read(tmp_path: Path, extra: dict[str, str]):
    assert settings_with(tmp_path, **extra).returncode == 0
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_weak_key_in_the_environment_is_refused_everywhere(tmp_path: Path):
    assert settings_with(tmp_path, SECRET_KEY="hello").returncode != 0


def test_processes_that_start_together_agree_on_the_key(tmp_path: Path):
    program = "from django.conf import settings as s; print(s.SECRET_KEY)"
    environment = {**os.environ, "DATA_DIR": str(tmp_path / "data"), "DJANGO_SETTINGS_MODULE": "labeler.settings"}
    for name in ("SECRET_KEY", "DATABASE_URL"):
        environment.pop(name, None)
    started = [
        subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1


def test_it_refuses_to_answer_to_every_host_name(tmp_path: Path):
    result = settings_with(tmp_path, ALLOWED_HOSTS="*")
    assert result.returncode != 0 and "ALLOWED_HOSTS must name the hosts" in result.stderr


def test_debugging_is_off_unless_asked_for(tmp_path: Path):
    assert settings_with(tmp_path, "print(s.DEBUG)").stdout == "False\n"


def test_servers_are_used_when_named(tmp_path: Path):
    code = "print(s.DATABASES['default']['ENGINE'], s.CELERY_BROKER_URL, s.CACHES['default']['BACKEND'])"
    result = settings_with(tmp_path, code, **SERVER, SECRET_KEY=GOOD, REDIS_URL="redis://127.0.0.1:1/0")
    assert result.stdout.split() == [
        "django.db.backends.postgresql",
        "redis://127.0.0.1:1/0",
        "django.core.cache.backends.redis.RedisCache",
    ]


def test_behind_tls_cookies_are_secure_and_http_is_redirected_but_not_for_health_checks(tmp_path: Path):
    names = ["SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SECURE_REDIRECT_EXEMPT"]
    code = f"print(*[getattr(s, name) for name in {names}])"
    result = settings_with(tmp_path, code, HTTPS="true")
    assert result.stdout == "True True True ['^health$']\n"


def test_no_secret_stands_in_the_code():
    for path in [*ROOT.glob("labeler/**/*.py"), *ROOT.glob("*.yml"), ROOT / "Dockerfile", ROOT / "Procfile"]:
        text = path.read_text()
        assert not re.search(r"django-insecure-\w{10}", text), path
        assert not re.search(r"^\s*(SECRET_KEY|PASSWORD)\s*[=:]\s*[\"'][^\"'$]+[\"']", text, re.M), path


def test_every_variable_is_explained():
    read = set(re.findall(r"""env\.\w+\(\s*["'](\w+)["']""", (ROOT / "labeler" / "settings.py").read_text()))
    read |= set(re.findall(r"environ\.get\(\s*[\"'](\w+)[\"']", (ROOT / "gunicorn.conf.py").read_text()))
    table = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "docs" / "operations.md").read_text(), re.M)
    explained = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert explained == read


def test_a_sweep_that_nobody_took_expires() -> None:
    """django-celery-beat reads `expire_seconds`; Celery's own word is passed over, and messages pile up."""
    from django_celery_beat.schedulers import ModelEntry

    from labeler import settings

    options = settings.CELERY_BEAT_SCHEDULE["sweep"]["options"]
    assert ModelEntry._unpack_options(**options)["expire_seconds"] == 600


@pytest.mark.parametrize("name", ["OUTBOUND_NETWORKS", "METRICS_NETWORKS"])
def test_networks_that_are_none_are_refused_at_the_start(tmp_path: Path, name: str):
    for wrong in ("127.0.0.1/8", "abc", "10.0.0.0/8,10.1.2.3/99"):
        result = settings_with(tmp_path, **{name: wrong})
        assert result.returncode != 0 and f"{name} is no list of networks such as 10.1.2.0/24" in result.stderr
    assert settings_with(tmp_path, f"print(s.{name})", **{name: " 10.0.0.0/8, ::1/128,"}).stdout.split() == [
        "['10.0.0.0/8',", "'::1/128']",
    ]  # fmt: skip
