"""The Procfile, docker-compose.yml and the Dockerfile say the same, and nothing that they should not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from labeler.supervisor import read_procfile

ROOT = Path(__file__).resolve().parent.parent
PROCESSES = ["web", "learner", "worker", "importer", "messenger", "background", "beat"]
OWN = [*PROCESSES, "migrate"]
OF_THE_WEB = {  # or set by the image, or of one machine alone
    "ALLOWED_HOSTS", "API_RATE", "API_UNKNOWN_TOKENS", "CSRF_TRUSTED_ORIGINS", "DATA_DIR", "DEBUG", "EXPORTS_PER_USER",
    "FORM_UPLOAD_MAX_BYTES", "HOST", "HTTPS", "IMPORTS_PER_USER", "LEASE_SECONDS", "LOGIN_FAILURE_LIMIT",
    "METRICS_NETWORKS", "METRICS_TOKEN", "PORT", "PREDICTIONS_PER_MINUTE", "PROXIES", "SERVED_MAX_BYTES",
    "SERVED_MODELS", "SQLITE_SYNCHRONOUS", "STATIC_ROOT", "WEB_THREADS", "WEB_WORKERS",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose: dict) -> dict:
    return compose["services"]


def known_variables() -> set[str]:
    """What settings.py and gunicorn.conf.py read."""
    settings = (ROOT / "labeler" / "settings.py").read_text()
    gunicorn = (ROOT / "gunicorn.conf.py").read_text()
    return set(re.findall(r"""env\.\w+\(\s*["'](\w+)["']""", settings)) | set(
        re.findall(r"""environ\.get\(\s*["'](\w+)["']""", gunicorn)
    )


def test_it_runs_the_very_commands_of_the_procfile(services: dict):
    commands = read_procfile(ROOT / "Procfile")
    assert list(commands) == PROCESSES
    for name, command in commands.items():
        assert shlex.split(services[name]["command"]) == command


def test_the_services_are_these(services: dict):
    assert set(services) == {*OWN, "postgres", "redis"}


@pytest.mark.parametrize("name", [*PROCESSES, "postgres", "redis"])
def test_it_has_a_health_check(services: dict, name: str):
    check = services[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert check["interval"] and check["timeout"] and check["retries"]


def test_what_health_checks_call_is_there(services: dict):
    from django.core.management import get_commands

    called = [
        check["test"][3]
        for check in (services[name]["healthcheck"] for name in PROCESSES)
        if "manage.py" in check["test"]
    ]
    assert called == ["alive"] * 6
    assert "alive" in get_commands()


@pytest.mark.parametrize("name", PROCESSES)
def test_it_starts_after_what_it_needs(services: dict, name: str):
    conditions = {other: wanted["condition"] for other, wanted in services[name]["depends_on"].items()}
    assert conditions == {
        "migrate": "service_completed_successfully",
        "postgres": "service_healthy",
        "redis": "service_healthy",
    }


def test_migrations_run_once_and_after_the_database_is_up(services: dict):
    assert services["migrate"]["restart"] == "no"
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", OWN)
def test_it_may_do_little(services: dict, name: str):
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged") and "user" not in service  # the image's, which is not root


@pytest.mark.parametrize("name", OWN)
def test_what_is_written_to_memory_has_an_end_and_room_for_a_form(services: dict, name: str):
    (mount,) = services[name]["tmpfs"]
    folder, _, options = mount.partition(":")
    size = dict(option.split("=") for option in options.split(","))["size"]
    assert (folder, size) == ("/tmp", "1g")
    form = re.search(r":-(\d+)\}", services[name]["environment"]["FORM_UPLOAD_MAX_BYTES"])
    assert form and 2 * int(form[1]) <= 2**30


def test_every_process_sees_the_same_files(compose: dict, services: dict):
    for name in OWN:
        assert services[name]["volumes"] == ["files:/data"]
    assert services["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]
    assert set(compose["volumes"]) == {"files", "postgres"}


def test_only_the_pages_are_reached_from_outside_and_only_from_this_machine(services: dict):
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"web": ["127.0.0.1:${WEB_PORT:-8000}:8000"]}


def test_no_secret_is_written_down_and_none_is_optional(services: dict):
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if name in ("STORAGE_KEY_ID", "STORAGE_SECRET"):  # there may be no bucket
                assert value == f"${{{name}:-}}"
            elif any(word in name for word in ("SECRET", "PASSWORD", "KEY")):
                assert re.fullmatch(r"\$\{(SECRET_KEY|POSTGRES_PASSWORD):\?[^}]+\}", value)
            if name == "DATABASE_URL":
                assert re.fullmatch(r"postgres://plusminus:\$\{POSTGRES_PASSWORD:\?[^}]+\}@postgres/plusminus", value)
    example = dict(
        line.split("=", 1)
        for line in (ROOT / ".env.example").read_text().splitlines()
        if "=" in line and line[0] != "#"
    )
    assert example["SECRET_KEY"] == "" and example["POSTGRES_PASSWORD"] == ""


def test_workers_of_another_machine_run_the_same_commands_and_need_the_addresses():
    compose = yaml.safe_load((ROOT / "docker-compose.workers.yml").read_text())
    commands = read_procfile(ROOT / "Procfile")
    assert set(compose["services"]) == {"learner", "worker", "importer", "messenger", "background"}
    for name, service in compose["services"].items():
        assert shlex.split(service["command"]) == commands[name]
        assert service["healthcheck"]["test"][-2:] == ["alive", name]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and "ports" not in service
        assert "no-new-privileges:true" in service["security_opt"] and "depends_on" not in service
        environment = service["environment"]
        assert set(environment) <= known_variables()
        for needed in ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "STORAGE_URL"):
            assert re.fullmatch(rf"\$\{{{needed}:\?[^}}]+\}}", environment[needed])
        missing = known_variables() - set(environment) - OF_THE_WEB
        assert not missing, "a worker would do otherwise than those of the first machine"


def test_every_variable_is_known(services: dict):
    known = known_variables()
    for name in OWN:
        assert set(services[name]["environment"]) <= known
    dockerfile = (ROOT / "Dockerfile").read_text()
    set_there = set(re.findall(r"(\w+)=", " ".join(re.findall(r"^ENV (.*)$", dockerfile, re.M))))
    assert set_there - {"PATH", "PYTHONUNBUFFERED"} <= known


def test_every_variable_of_the_compose_file_is_in_the_example_or_has_a_default():
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / ".env.example").read_text()
    for name in re.findall(r"\$\{(\w+):\?", text):
        assert re.search(rf"^{name}=", example, re.M)
    assert all(mark in {":-", ":?"} for mark in re.findall(r"\$\{\w+(:.)", text))


def test_the_image_is_not_run_by_root_and_holds_no_secret():
    dockerfile = (ROOT / "Dockerfile").read_text()
    final = dockerfile.rsplit("\nFROM ", 1)[1]
    users = re.findall(r"^USER (\S+)$", final, re.M)
    assert users == ["plusminus"]
    assert "useradd" in final and "SECRET_KEY" not in dockerfile
    assert dockerfile.count("\nFROM ") == 2  # what builds it does not come along


def test_the_image_gets_only_what_runs():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    wanted = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert {"labeler", "learner", "static", "templates", "manage.py", "gunicorn.conf.py"} <= set(wanted)
    assert all((ROOT / name).exists() for name in wanted)


def test_every_requirement_is_pinned_and_the_constraints_agree():
    def pins(name: str) -> dict[str, str]:
        lines = (ROOT / name).read_text().splitlines()
        found = [
            re.fullmatch(r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", line) for line in lines if line and line[0] not in "#-"
        ]
        assert all(found), f"{name} has a line without a pin"
        return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found if match}

    constraints = pins("constraints.txt")
    assert not [version for version in constraints.values() if "+" in version]  # +cpu would refuse the ordinary wheel
    for name, version in {**pins("requirements.txt"), **pins("requirements-dev.txt")}.items():
        assert constraints[name] == version
