"""The demo as a newcomer meets it: made once, served at one address, kept, stopped without a trace."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from django.contrib.staticfiles.finders import get_finder
from django.core.management import CommandError, call_command
from PIL import Image as Picture

from labeler.datasets import NoSuchData, open_dataset
from labeler.embedded import choose_port
from labeler.models import Candidate, Membership, OfferedLabel, Project, Role, User
from labeler.naming import DIGIT_WORDS
from labeler.services.demo import ImportFailed, fill_project, find_project, give_passwords, make_people
from labeler.supervisor import read_procfile
from tests.signing_in import sign_in

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder_of_classes(tmp_path: Path) -> Path:
    """Six tiny images in two class folders."""
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 255, (12, 12, 3), dtype=np.uint8)
            Picture.fromarray(pixels).save(tmp_path / "pets" / name / f"{name}{number}.png")
    return tmp_path / "pets"


def make(data: str) -> Project:
    make_people()
    with open_dataset(data) as dataset:
        project = find_project(name=dataset.name)
        fill_project(project=project, dataset=dataset, report=lambda *_: None)
    project.refresh_from_db()
    return project


@pytest.mark.django_db(transaction=True)
def test_the_digits_have_names_keys_colours_known_labels_and_a_queue():
    project = make("digits")
    assert project.name == "Digits"
    assert 1790 <= project.images.count() <= 1797
    assert [(row.name, row.shortcut) for row in project.classes.all()] == list(
        zip(DIGIT_WORDS, "0123456789", strict=True)
    )
    assert len({row.colour for row in project.classes.all()}) == 10
    names = set(OfferedLabel.objects.filter(image__project=project).values_list("class_name", flat=True))
    assert names == set(project.classes.values_list("name", flat=True))
    assert Candidate.objects.filter(round=project.queue_round).exists()
    roles = dict(Membership.objects.filter(project=project).values_list("user__username", "role"))
    assert roles == {"manager": Role.MANAGER, "anna": Role.ANNOTATOR, "ben": Role.ANNOTATOR}


@pytest.mark.django_db(transaction=True)
def test_known_labels_are_hidden_in_the_names_too():
    project = make("digits")
    name = project.images.order_by("position").first().name
    assert not re.search("|".join(DIGIT_WORDS), name)


@pytest.mark.django_db(transaction=True)
def test_a_folder_of_class_folders_and_a_zip_give_the_same(folder_of_classes: Path, tmp_path: Path):
    archive = tmp_path / "animals.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder_of_classes.rglob("*.png")):
            file.write(path, path.relative_to(folder_of_classes))
    projects = [make(str(folder_of_classes)), make(str(archive))]
    assert [project.name for project in projects] == ["Pets", "Animals"]
    for project in projects:
        assert project.images.count() == 6
        assert [(row.name, row.shortcut) for row in project.classes.all()] == [("cat", "1"), ("dog", "2")]


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_start_goes_on_and_doubles_nothing(folder_of_classes: Path):
    first = make(str(folder_of_classes))
    Project.objects.filter(pk=first.pk).update(queue_round=None)
    again = make(str(folder_of_classes))
    assert again.pk == first.pk and again.images.count() == 6
    assert again.classes.count() == 2 and User.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_data_without_an_image_leaves_no_project(tmp_path: Path, settings):
    settings.DATA_DIR = tmp_path / "data"
    broken = tmp_path / "bad.npz"
    broken.write_bytes(b"PK\x03\x04 and nothing else")
    with pytest.raises(CommandError, match=r"bad\.npz did not work: .*\w"):
        call_command("demo", data=str(broken), prepare_only=True)
    only_text = tmp_path / "texts.zip"
    with zipfile.ZipFile(only_text, "w") as file:
        file.writestr("cat/readme.png", "not an image")
    for _ in range(2):
        with pytest.raises(ImportFailed, match=r"No image was added\. cat/readme\.png: "):
            make(str(only_text))
    assert not Project.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_project_that_somebody_began_stays(tmp_path: Path):
    only_text = tmp_path / "texts.zip"
    with zipfile.ZipFile(only_text, "w") as file:
        file.writestr("readme.png", "not an image")
    make_people()
    Project.objects.filter(pk=find_project(name="Texts").pk).update(guidelines="Look twice.")
    with pytest.raises(ImportFailed):
        make(str(only_text))
    assert Project.objects.get().name == "Texts"


@pytest.mark.django_db(transaction=True)
def test_a_second_start_reads_no_images_and_hashes_no_files(folder_of_classes: Path, settings, tmp_path, monkeypatch):
    """So it takes seconds, and a dataset that was downloaded is not downloaded again."""
    settings.DATA_DIR, settings.STATIC_ROOT = tmp_path, tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    manifest, commands = settings.STATIC_ROOT / "staticfiles.json", []

    def run(name: str, **_: object) -> None:
        commands.append(name)
        if name == "collectstatic":
            manifest.touch()

    monkeypatch.setattr("labeler.embedded.call_command", run)
    start = {"data": str(folder_of_classes), "prepare_only": True}
    call_command("demo", **start)
    assert commands == ["migrate", "collectstatic"]
    monkeypatch.setattr("labeler.management.commands.demo.open_dataset", None)
    call_command("demo", **start)
    assert commands[2:] == ["migrate"]
    manifest.unlink()
    call_command("demo", **start)
    assert commands[3:] == ["migrate", "collectstatic"]
    settings.STATICFILES_DIRS = [
        *settings.STATICFILES_DIRS,
        ("pets", folder_of_classes),
    ]  # another version of the files
    get_finder.cache_clear()
    call_command("demo", **start)
    assert commands[5:] == ["migrate", "collectstatic"]
    get_finder.cache_clear()


def test_a_dataset_that_cannot_be_had_leaves_no_project(db, settings, tmp_path, monkeypatch):
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr("labeler.embedded.prepare", lambda: None)
    monkeypatch.setattr("labeler.datasets._mnist", lambda _: (_ for _ in ()).throw(NoSuchData("no network")))
    with pytest.raises(CommandError, match="no network"):
        call_command("demo", data="mnist", prepare_only=True)
    assert not Project.objects.exists()


def test_what_an_npz_holds_back_for_tests_stays_out(tmp_path: Path):
    images, labels = np.zeros((2, 8, 8), dtype=np.uint8), np.arange(2)
    np.savez(tmp_path / "split.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    with open_dataset(str(tmp_path / "split.npz")) as dataset:
        assert dataset.parts == ("train",)


def test_a_path_with_nothing_there_is_said_in_words(tmp_path: Path):
    with pytest.raises(NoSuchData, match="There is nothing at"), open_dataset(str(tmp_path / "none.zip")):
        pass


@pytest.mark.django_db
def test_passwords_are_random_and_given_once():
    make_people()
    assert not any(user.has_usable_password() for user in User.objects.all())
    passwords = give_passwords()
    assert set(passwords) == {"manager", "anna", "ben"} and len(set(passwords.values())) == 3
    assert all(User.objects.get(username=name).check_password(word) for name, word in passwords.items())
    assert give_passwords() == {}


def test_a_port_that_is_taken_is_refused_and_the_usual_one_is_replaced():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match="taken"):
            choose_port("127.0.0.1", port)
    assert choose_port("127.0.0.1", None) > 0


class Running:
    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.out = folder.with_name(f"out{len(list(folder.parent.glob('out*')))}")
        kept = {
            name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL", "SECRET_KEY"}
        }
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", *arguments],
                cwd=ROOT,
                env={**kept, "DATA_DIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        return self.out.read_text()

    def wait_for(self, condition: Callable[[], object], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None and time.monotonic() < deadline, self.output()
            time.sleep(0.1)

    def address(self) -> str:
        self.wait_for(lambda: "PlusMinus is at" in self.output())
        return re.search(r"PlusMinus is at (\S+)", self.output())[1]  # type: ignore[index]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(*arguments: str) -> Running:
        started.append(Running(tmp_path / "data", *arguments))
        return started[-1]

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.stop()


def test_the_demo_from_nothing_to_a_page_and_again(start: Callable[..., Running], folder_of_classes: Path):
    first = start("demo", "--data", str(folder_of_classes))
    address = first.address()
    with urllib.request.urlopen(f"{address}/health") as response:
        assert response.status == 200
    assert (first.folder / "address").read_text().strip() == address
    first.wait_for(lambda: "Ctrl+C" in first.output())
    sign_ins = dict(re.findall(r"^  (\w+) +(\w{4}-\w{4}-\w{4}-\w{4}) ", first.output(), re.M))
    assert set(sign_ins) == {"manager", "anna", "ben"}
    for username, password in sign_ins.items():
        page = sign_in(address, username, password).get("/p/pets/label/")
        assert page.status_code == 200 and "cat" in page.text

    # a second one on the same data is refused and disturbs nothing
    second = start("up")
    assert second.process.wait(timeout=60) == 1
    assert f"PlusMinus runs already at {address}" in second.output() and "Traceback" not in second.output()

    # each process that is killed comes back
    children = Path(f"/proc/{first.process.pid}/task/{first.process.pid}/children")
    if children.exists():
        programs = len(read_procfile(ROOT / "Procfile"))
        first.wait_for(lambda: len(children.read_text().split()) == programs)
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        first.wait_for(lambda: first.output().count("was killed by SIGKILL; starting it again") == programs)
        first.wait_for(lambda: _is_up(address))

    assert first.stop() == 0
    assert "Traceback" not in first.output() and "stopped" in first.output()
    assert not _is_up(address)

    # again: in seconds, with the data and without passwords
    third = start("demo", "--data", str(folder_of_classes))
    again = third.address()
    third.wait_for(lambda: "Ctrl+C" in third.output())
    assert "Imported" not in third.output() and "changepassword" in third.output()
    assert not any(password in third.output() for password in sign_ins.values())
    sign_in(again, "anna", sign_ins["anna"])
    assert third.stop() == 0
    logs = "".join(path.read_text() for path in (first.folder / "logs").glob("*.log"))
    assert not any(password in logs for password in sign_ins.values())


def _is_up(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def test_up_says_how_the_first_person_is_made(start: Callable[..., Running]):
    running = start("up", "--port", str(_free_port()))
    running.address()
    running.wait_for(lambda: "createsuperuser" in running.output())
    assert running.stop() == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.django_db
def test_wrong_data_ends_with_a_line(tmp_path: Path, settings):
    settings.DATA_DIR = tmp_path
    settings.STATIC_ROOT = tmp_path / "static"
    with pytest.raises(CommandError, match="There is nothing at"):
        call_command("demo", "--data", str(tmp_path / "nothing.zip"), "--prepare-only", skip_checks=True)
