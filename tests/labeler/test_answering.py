"""Which model answers about new images, that it is said, and that the one in charge is prepared where it is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from labeler import clock
from labeler.models import JobState, LearningConfig, ModelExport, Prediction, Project, Round, RoundState, Trigger
from labeler.selectors.served import answering
from labeler.services import serving
from labeler.services.serving import note_asked, prepare_models_in_charge, run_model_export
from labeler.storage import round_folder
from tests.labeler.served_models import tiny_export
from tests.labeler.test_serving_pages import PREDICT, TRY, picture

pytestmark = pytest.mark.django_db


@pytest.fixture
def export(project, make_images, manager) -> ModelExport:
    return tiny_export(project, make_images, manager)


def round_of(project: Project, number: int, *, is_prepared: bool = False, **config) -> Round:
    """A done round; its file is there if it is prepared."""
    row = Round.objects.create(
        project=project, number=number, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.DONE,
        folder=f"rounds/{number}", config={"learns_from": "likeness", "has_likeness": True} | config,
    )  # fmt: skip
    if is_prepared:
        prepared(row)
    return row


def prepared(round_: Round, **fields) -> ModelExport:
    folder = round_folder(round_)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"served-{ModelExport.objects.count()}"
    for suffix in ("onnx", "arrays"):
        (folder / f"{name}.{suffix}").write_bytes(b"x")
    return ModelExport.objects.create(
        project=round_.project,
        round=round_,
        state=JobState.DONE,
        file=f"{name}.onnx",
        arrays=f"{name}.arrays",
        **fields,
    )


def in_charge(project: Project, round_: Round) -> None:
    project.model_round = round_
    project.save()


def who(project: Project) -> tuple[int, bool]:
    found = answering(project)
    assert found.export is not None
    return found.export.round.number, found.is_in_charge


def test_the_newest_round_answers_whichever_was_prepared_last(project) -> None:
    rounds = {number: round_of(project, number) for number in (4, 5, 9, 11)}
    for number in (9, 5, 4):  # the last for a look at its card
        prepared(rounds[number])
    in_charge(project, rounds[11])
    assert who(project) == (9, False)
    prepared(rounds[11])
    assert who(project) == (11, True)


def test_of_several_kinds_that_of_the_model_in_charge(project) -> None:
    in_charge(project, round_of(project, 11))
    round_of(project, 5, is_prepared=True)
    round_of(project, 9, is_prepared=True, learns_from="images", has_likeness=False)
    assert who(project) == (5, False)
    ModelExport.objects.filter(round__number=5).delete()
    assert who(project) == (9, False)


def test_what_was_refused_or_taken_back_since_comes_last(project) -> None:
    in_charge(project, round_of(project, 11))
    round_of(project, 12, is_prepared=True)
    assert who(project) == (12, False)
    round_of(project, 4, is_prepared=True)
    assert who(project) == (4, False)


def test_a_file_that_is_gone_does_not_answer(project) -> None:
    in_charge(project, round_of(project, 11, is_prepared=True))
    round_of(project, 9, is_prepared=True)
    (round_folder(project.model_round) / ModelExport.objects.get(round__number=11).file).unlink()
    assert who(project) == (9, False)
    ModelExport.objects.update(file="")
    assert answering(project).export is None


def test_pages_and_programs_say_that_another_is_in_charge(export, project, manager, annotator, client_of) -> None:
    LearningConfig.objects.filter(project=project).update(suggestions="before")
    client = client_of(manager)
    assert client.post(PREDICT, {"image": picture()}).json()["in_charge"] is True
    later = round_of(project, export.round.number + 1)
    in_charge(project, later)
    reply = client.post(PREDICT, {"image": picture()}).json()
    assert (reply["round"], reply["in_charge"]) == (export.round.number, False)
    for at in (TRY, "/p/signs/predictions/"):
        page = client.get(at).content.decode()
        assert f"That is not the model in charge: round {later.number} is." in page
        assert f"Prepare the model of round {later.number}" in page
    page = client_of(annotator).get(TRY).content.decode()
    assert "not the model in charge" in page and "Prepare the model" not in page
    ModelExport.objects.create(project=project, round=later)
    assert "It is being prepared, and answers in a moment." in client.get(TRY).content.decode()


def test_where_it_is_asked_the_next_one_is_prepared_by_itself(export, project, manager, client_of, monkeypatch) -> None:
    woken: list[tuple] = []
    monkeypatch.setattr("labeler.services.derived.wake", lambda *what: woken.append(what))
    later = round_of(project, export.round.number + 1)
    in_charge(project, later)
    assert prepare_models_in_charge() == 0  # nobody asks
    assert client_of(manager).post(PREDICT, {"image": picture()}).status_code == 200
    assert prepare_models_in_charge() == 1
    job = ModelExport.objects.get(round=later)
    assert (job.is_automatic, job.state, woken) == (True, JobState.QUEUED, [(serving.EXPORT_MODEL, job.pk)])
    assert prepare_models_in_charge() == 0  # it is on its way


def test_one_that_failed_or_was_stopped_waits_for_a_person(export, project) -> None:
    note_asked(export=export)
    later = round_of(project, export.round.number + 1)
    in_charge(project, later)
    job = ModelExport.objects.create(project=project, round=later, state=JobState.FAILED, error="The graph is gone.")
    assert prepare_models_in_charge() == 0
    ModelExport.objects.filter(pk=job.pk).update(state=JobState.CANCELLED)
    assert prepare_models_in_charge() == 0
    in_charge(project, round_of(project, later.number + 1))
    assert prepare_models_in_charge() == 1


def test_who_has_not_asked_for_a_month_is_not_waited_for(export, project) -> None:
    in_charge(project, round_of(project, export.round.number + 1))
    ModelExport.objects.update(asked_at=clock.now() - serving.ASKED_LATELY - timedelta(minutes=1))
    assert prepare_models_in_charge() == 0


def test_it_is_written_down_once_an_hour(export, django_assert_num_queries) -> None:
    note_asked(export=export)
    export.refresh_from_db()
    with django_assert_num_queries(0):
        note_asked(export=export)
    export.asked_at -= serving.NOTED_EVERY * 2
    note_asked(export=export)
    before = export.asked_at
    export.refresh_from_db()
    assert export.asked_at > before


def test_files_that_nobody_asked_for_do_not_pile_up(export, project) -> None:
    long_ago = clock.now() - timedelta(days=2)
    old = [prepared(round_of(project, 100 + n), is_automatic=True, finished_at=long_ago) for n in range(4)]
    Prediction.objects.create(project=project, model=old[0], format="csv", name="a.zip", state=JobState.QUEUED)
    by_hand = prepared(round_of(project, 110), finished_at=long_ago)
    in_charge(project, round_of(project, 111))
    job = ModelExport.objects.create(project=project, round=project.model_round, is_automatic=True)
    made = serving.Exported(file="n.onnx", arrays="n.arrays", size=1, digest="d", about={})
    run_model_export(job_id=job.pk, export=lambda _job, _report: made)
    files = {row.pk: row.file for row in ModelExport.objects.all()}
    assert files[job.pk] == "n.onnx"
    gone = {row.pk for row in old if not files[row.pk]}
    assert gone == {old[1].pk, old[2].pk}  # one is being asked about an archive, one is the newest of the others
    assert files[by_hand.pk] and files[export.pk]
    for row in old:
        assert (round_folder(row.round) / row.file).exists() is (row.pk not in gone)
        assert (round_folder(row.round) / row.arrays).exists() is (row.pk not in gone)


def test_a_file_that_went_is_made_again_where_its_round_is_back_in_charge(export, project) -> None:
    note_asked(export=export)
    back = round_of(project, export.round.number + 1)
    ModelExport.objects.create(project=project, round=back, state=JobState.DONE, is_automatic=True)
    in_charge(project, back)
    assert prepare_models_in_charge() == 1
