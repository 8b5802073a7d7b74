"""A person says which column of a table names the image and which is its label: on the preview and by the API."""

from __future__ import annotations

import pytest
from django.urls import reverse

from labeler.models import AuditEntry, ImportJob, JobState, OfferedLabel
from labeler.services.importing import run_import
from labeler.services.uploads import RUN_IMPORT, add_whole_file, create_import, finish_upload
from tests.labeler.api.conftest import api_of, as_manager  # noqa: F401
from tests.labeler.imports import make_zip, png

pytestmark = pytest.mark.django_db
TABLE = "datei;klasse;größe\n" + "".join(f"{n}.png;{'Katze' if n % 2 else 'Hund'};{n}\n" for n in range(4))
XSS = "<script>alert(1)</script>"


def looked_at(project, by, tmp_path, table: str = TABLE, start: int = 0) -> ImportJob:
    entries = {f"{n}.png": png(n + start) for n in range(4)} | {"t.csv": table.encode()}
    path = make_zip(tmp_path / "a.zip", entries)
    job = create_import(project=project, by=by)
    with path.open("rb") as file:
        add_whole_file(job=job, name="a.zip", size=path.stat().st_size, file=file)
    finish_upload(job=job, looks_first=True)
    return run(job)


def run(job: ImportJob) -> ImportJob:
    run_import(job_id=job.pk)
    job.refresh_from_db()
    return job


def offered(project) -> dict[str, str]:
    rows = OfferedLabel.objects.filter(image__project=project)
    return dict(rows.values_list("image__name", "class_name"))


def page(client, job) -> str:
    return client.get(reverse("import", args=[job.project.slug, job.pk])).content.decode()


def choose(client, job, **values):
    return client.post(reverse("import-columns", args=[job.project.slug, job.pk]), {"table-0": "t.csv", **values})


def test_the_label_is_chosen_on_the_preview(
    project, manager, client_of, tmp_path, sent, django_capture_on_commit_callbacks
):
    job, client = looked_at(project, manager, tmp_path), client_of(manager)
    before = page(client, job)
    assert "“datei” names the image, no column is a label" in before and "Choose the columns" in before
    with django_capture_on_commit_callbacks(execute=True):
        choose(client, job, **{"place-0": "datei", "label-0": "klasse"})
    job.refresh_from_db()
    assert (job.state, job.found, sent) == (
        JobState.QUEUED,
        None,
        [(RUN_IMPORT, job.pk)],
    )
    run(job)
    after = page(client, job)
    assert "“datei” names the image, “klasse” is the label" in after and "Katze</bdi> (2)" in after
    client.post(reverse("import-start", args=[project.slug, job.pk]))
    run(job)
    assert (job.state, job.added, job.columns) == (JobState.DONE, 4, ["größe"])
    assert offered(project) == {f"{n}.png": "Katze" if n % 2 else "Hund" for n in range(4)}
    assert AuditEntry.objects.filter(
        words__startswith=f"chose columns of tables in import {job.pk}", by=manager
    ).exists()


def test_it_is_remembered_for_the_next_import(project, manager, client_of, tmp_path):
    job, client = looked_at(project, manager, tmp_path), client_of(manager)
    choose(client, job, **{"place-0": "datei", "label-0": "klasse"})
    following = looked_at(project, manager, tmp_path, start=10)
    assert following.found["tables"][0]["label"] == "klasse"
    other = looked_at(project, manager, tmp_path, TABLE.replace("klasse", "label"), start=20)
    assert other.found["tables"][0] | {"names": []} == {
        "name": "t.csv", "kind": "CSV", "rows": 4, "place": "datei", "label": "label", "names": [],
    }  # fmt: skip


def test_a_table_that_says_nothing_by_its_names_can_be_chosen_from(project, manager, client_of, tmp_path):
    table = "a;b\n" + "".join(f"{n};{n}.png\n" for n in range(4)) + "x;nothing like a file\n" * 4
    job, client = looked_at(project, manager, tmp_path, table), client_of(manager)
    text = page(client, job)
    assert "No column names the images: choose one below" in text and "No column says which image" in text
    choose(client, job, **{"place-0": "b", "label-0": "a"})
    client.post(reverse("import-start", args=[project.slug, run(job).pk]))
    run(job)
    assert offered(project) == {f"{n}.png": str(n) for n in range(4)}


@pytest.mark.parametrize(
    ("place", "label", "words"),
    [
        ("", "klasse", "Say which column names the image."),
        ("datei", "datei", "One column cannot both"),
        ("nothing", "", "There is no column “nothing”."),
        ("datei", XSS, "There is no column"),
    ],
)
def test_what_cannot_be_is_refused_in_words(project, manager, client_of, tmp_path, place, label, words):
    job, client = looked_at(project, manager, tmp_path), client_of(manager)
    choose(client, job, **{"place-0": place, "label-0": label})
    job.refresh_from_db()
    assert job.is_ready and job.table_columns == {}
    text = page(client, job)
    assert words in text and XSS not in text


def test_tables_that_are_left_as_they_are_are_not_chosen(project, manager, client_of, tmp_path):
    """Nor one that is left out: it would refuse all of its rows by a column that nobody has named."""
    entries = {
        "0.png": png(0),
        "t.csv": TABLE.encode(),
        "u.csv": b"a;b\nx;y\nz;1\n",
        "v.csv": b"path,label\n0.png,cat\n",
    }
    path = make_zip(tmp_path / "a.zip", entries)
    job, client = create_import(project=project, by=manager), client_of(manager)
    with path.open("rb") as file:
        add_whole_file(job=job, name="a.zip", size=path.stat().st_size, file=file)
    finish_upload(job=job, looks_first=True)
    names = [table["name"] for table in run(job).found["tables"]]
    assert '<option value="">no column: leave it out</option>' in page(client, job)
    values = {"t.csv": ("datei", "klasse"), "u.csv": ("", ""), "v.csv": ("path", "label")}
    for number, name in enumerate(names):
        values[f"table-{number}"] = name
        values[f"place-{number}"], values[f"label-{number}"] = values[name]
    client.post(
        reverse("import-columns", args=["signs", job.pk]), {k: v for k, v in values.items() if isinstance(v, str)}
    )
    assert run(job).table_columns == {"t.csv": {"place": "datei", "label": "klasse"}}


def test_once_it_runs_nothing_is_chosen_any_more(project, manager, client_of, tmp_path):
    job, client = looked_at(project, manager, tmp_path), client_of(manager)
    client.post(reverse("import-start", args=[project.slug, job.pk]))
    choose(client, job, **{"place-0": "datei", "label-0": "klasse"})
    job.refresh_from_db()
    assert (job.state, job.looks_first, job.table_columns) == (JobState.QUEUED, False, {})


def test_tables_of_our_own_are_not_chosen_from(project, manager, client_of, tmp_path):
    table = "name,class,state,selection_probability,content_hash\n0.png,cat,labelled,,\n"
    job = looked_at(project, manager, tmp_path, table)
    assert "Choose the columns" not in page(client_of(manager), job)


def test_columns_by_the_api(project, as_manager, manager, tmp_path):  # noqa: F811
    job = looked_at(project, manager, tmp_path)
    finish = f"/projects/signs/imports/{job.pk}/finish"
    columns = [{"table": "t.csv", "place": "datei", "label": "klasse"}]
    assert job.found["tables"][0]["names"] == ["datei", "klasse", "größe"]
    refused = as_manager.post(finish, {"looks_first": True, "columns": [{"table": "t.csv", "place": "file"}]})
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"field": "columns", "detail": "t.csv: There is no column “file”."}]
    assert as_manager.post(finish, {"looks_first": True, "columns": columns}).json()["state"] == "queued"
    assert run(job).found["tables"][0]["label"] == "klasse"
    assert as_manager.post(finish, {}).status_code == 200
    assert run(job).added == 4 and len(offered(project)) == 4


def test_without_a_look_columns_that_are_not_there_refuse_the_table(project, as_manager, manager, tmp_path):  # noqa: F811
    path = make_zip(tmp_path / "b.zip", {"0.png": png(0), "t.csv": TABLE.encode()})
    job = create_import(project=project, by=manager)
    with path.open("rb") as file:
        add_whole_file(job=job, name="b.zip", size=path.stat().st_size, file=file)
    body = {"columns": [{"table": "t.csv", "place": "datei", "label": "class"}]}
    assert as_manager.post(f"/projects/signs/imports/{job.pk}/finish", body).status_code == 200
    assert run(job).added == 1 and not offered(project)
    assert "There is no column “class”" in job.rejected.get(name="t.csv").reason
