"""The settings of a project: general, classes, learning, schedule."""

from __future__ import annotations

import json
from datetime import time

import pytest
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from labeler.choices import PALETTE, RESERVED_KEYS
from labeler.forms.base import OVERTAKEN
from labeler.forms.learning import LearningForm
from labeler.models import LabelClass, LearningConfig, Project
from labeler.services import classes
from labeler.services.lease import lease_next
from labeler.services.schedule import WEEK, schedule_of, schedule_words, set_schedule
from tests.labeler.queues import answer_place, fill_queue, fresh


def url(project: Project, name: str, *arguments: object) -> str:
    return reverse(name, args=[project.slug, *arguments])


def names(project: Project) -> list[str]:
    return list(project.classes.filter(is_archived=False).values_list("name", flat=True))


def keys(project: Project) -> list[str]:
    return list(project.classes.filter(is_archived=False).values_list("shortcut", flat=True))


def made_from(client: Client, project: Project, name: str) -> dict[str, str]:
    """What the page sends along to say which values it shows."""
    return {"made_from": client.get(url(project, name)).context["form"].made_from}


# --- General ----------------------------------------------------------------------------------------------------------


def test_name_and_guidelines_change_and_the_address_stays(project, manager, client_of) -> None:
    client = client_of(manager)
    form = {"name": "Zeichen ✋", "guidelines": "Hin\r\nsehen", **made_from(client, project, "settings")}
    for _ in range(2):  # a double click too
        assert client.post(url(project, "settings"), form).status_code == 302
    project.refresh_from_db()
    assert (project.name, project.slug) == ("Zeichen ✋", "signs")
    assert "Zeichen ✋" in client.get(url(project, "settings")).content.decode()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"name": ""}, "This is needed."),
        ({"name": "x" * 101}, "At most 100 characters; this has 101."),
        ({"name": "ok", "guidelines": "g" * 20_001}, "At most 20000 characters; this has 20001."),
    ],
)
def test_general_nonsense_is_refused(project, manager, client_of, form, words) -> None:
    reply = client_of(manager).post(url(project, "settings"), form)
    assert reply.status_code == 200
    assert f"<li>{words}</li>" in reply.content.decode()
    project.refresh_from_db()
    assert project.name == "Signs"


# --- Classes ----------------------------------------------------------------------------------------------------------


def test_classes_are_added_with_keys_and_colours_and_again_is_harmless(project, manager, client_of) -> None:
    client = client_of(manager)
    client.post(url(project, "classes"), {"names": "fox\nelk"})
    reply = client.post(url(project, "classes"), {"names": "fox\nelk"}, follow=True)
    assert "already" in reply.content.decode()
    assert names(project) == ["cat", "dog", "owl", "fox", "elk"]
    assert keys(project) == ["1", "2", "3", "4", "5"]
    assert list(project.classes.values_list("colour", flat=True))[3:] == PALETTE[3:5]


def test_many_classes_get_keys_while_there_are_any_and_different_colours(project, manager, client_of) -> None:
    rows = classes.add_classes(project=project, names=[f"class {number}" for number in range(1000)])
    given = [row.shortcut for row in rows if row.shortcut]
    assert len(given) == len(set(given)) == len(classes.KEYS) - 3
    assert not set(given) & set(RESERVED_KEYS)
    assert len({classes.colour_of(number) for number in range(50)}) == 50
    reply = client_of(manager).get(url(project, "classes"))
    assert reply.status_code == 200
    assert reply.content.decode().count("csrfmiddlewaretoken") < 6  # one form for all the buttons


def test_a_class_is_renamed_rekeyed_and_recoloured(project, manager, client_of) -> None:
    cat = project.classes.get(name="cat")
    form = {"name": "Kater", "shortcut": "K", "colour": "#112233"}
    assert client_of(manager).post(url(project, "class-edit", cat.pk), form).status_code == 302
    cat.refresh_from_db()
    assert (cat.name, cat.shortcut, cat.colour) == ("Kater", "k", "#112233")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "DOG"}, "There is a class"),
        ({"shortcut": "2"}, "has this key"),
        ({"shortcut": "s"}, "it skips"),
        ({"shortcut": "é"}, "One digit or one letter"),
        ({"shortcut": "12"}, "One digit or one letter."),
        ({"colour": "red"}, "A colour such as"),
        ({"colour": '"><script>'}, "A colour such as"),
        ({"name": ""}, "This is needed."),
    ],
)
def test_class_nonsense_is_refused_beside_the_field(project, manager, client_of, change, words) -> None:
    cat = project.classes.get(name="cat")
    form = {"name": "cat", "shortcut": "1", "colour": "#0072b2", **change}
    reply = client_of(manager).post(url(project, "class-edit", cat.pk), form)
    assert reply.status_code == 200
    assert words in reply.content.decode()
    assert set(reply.context["form"].errors) == set(change)
    cat.refresh_from_db()
    assert (cat.name, cat.shortcut, cat.colour) == ("cat", "1", "#0072b2")


def test_classes_move_and_stay_at_the_ends(project, manager, client_of) -> None:
    client, owl = client_of(manager), project.classes.get(name="owl")
    client.post(url(project, "class-move", owl.pk), {"to": "up"})
    assert names(project) == ["cat", "owl", "dog"]
    for _ in range(4):
        client.post(url(project, "class-move", owl.pk), {"to": "up"})
    assert names(project) == ["owl", "cat", "dog"]
    shown = client.get(url(project, "classes")).context["classes"].rows
    assert [row.label_class.name for row in shown] == names(project)
    client.post(url(project, "class-keys"))
    assert dict(project.classes.values_list("name", "shortcut")) == {"owl": "1", "cat": "2", "dog": "3"}


def test_an_archived_class_frees_its_key_and_comes_back_with_another(project, manager, client_of) -> None:
    client, cat = client_of(manager), project.classes.get(name="cat")
    for _ in range(2):
        assert client.post(url(project, "class-archive", cat.pk)).status_code == 302
    assert names(project) == ["dog", "owl"]
    classes.add_classes(project=project, names=["fox"])
    assert LabelClass.objects.get(name="fox").shortcut == "1"
    for _ in range(2):
        client.post(url(project, "class-restore", cat.pk))
    assert names(project) == ["dog", "owl", "fox", "cat"]
    assert keys(project) == ["2", "3", "1", "4"]


def test_its_queries_do_not_grow_with_the_classes(project, manager, client_of, django_assert_max_num_queries) -> None:
    classes.add_classes(project=project, names=[f"class {number}" for number in range(40)])
    client = client_of(manager)
    with django_assert_max_num_queries(13):
        client.get(url(project, "classes"))


# --- Learning ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def sane(project) -> dict[str, object]:
    """What the page sends when nothing is changed."""
    form = LearningForm(initial=LearningForm.initial_of(project.learning))
    values = {name: form[name].value() for name in form.fields}
    shown = {name: "" if value is None else value for name, value in values.items()}
    return {**shown, form.MADE_FROM: form.made_from}


def test_every_setting_of_the_model_is_on_the_page_with_its_help() -> None:
    own = {field.name for field in LearningConfig._meta.concrete_fields} - {"id", "project", "schedule", "network"}
    assert set(LearningForm.base_fields) == own | set(LearningForm.SCHEDULE)
    shown = [name for _, _, group in LearningForm.SECTIONS for name in group]
    assert sorted(shown) == sorted(LearningForm.base_fields)
    assert all(field.help_text for name, field in LearningForm.base_fields.items() if name != "schedule_days")


def test_saving_what_is_shown_changes_nothing(project, manager, client_of, sane) -> None:
    before = LearningConfig.objects.filter(project=project).values().get()
    assert client_of(manager).post(url(project, "learning-settings"), sane).status_code == 302
    assert LearningConfig.objects.filter(project=project).values().get() == before


def test_settings_are_saved_shares_as_shares(project, manager, client_of, sane) -> None:
    form = {**sane, "random_share": "12.5", "retrain_every": 40, "acquisition": "random", "overlap": 2}
    reply = client_of(manager).post(url(project, "learning-settings"), form, follow=True)
    assert "next round" in reply.content.decode()
    learning = LearningConfig.objects.get(project=project)
    assert (learning.random_share, learning.retrain_every, learning.overlap) == (0.125, 40, 2)
    assert learning.acquisition == "random"
    assert 'value="12.5"' in reply.content.decode()


def test_the_overlap_counts_from_the_next_answer_on_and_the_page_says_so(
    project, manager, annotator, client_of, sane, make_images
) -> None:
    fill_queue(project, make_images(project, 2), overlap=2)
    sane |= {"overlap": 1, **made_from(client_of(manager), project, "learning-settings")}
    first, second = lease_next(project=fresh(project), annotator=annotator, want=2)
    answer_place(project, annotator, first)
    assert not project.images.filter(state="labelled").exists()
    assert client_of(manager).post(url(project, "learning-settings"), sane).status_code == 302
    assert project.images.filter(state="labelled").count() == 1
    answer_place(project, annotator, second)
    assert project.images.filter(state="labelled").count() == 2
    page = client_of(manager).get(url(project, "learning-settings")).content.decode()
    assert "the overlap from the next answer on" in page


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("budget", "0"), ("budget", "-1"), ("budget", "many"), ("budget", "10001"), ("budget", ""),
        ("random_share", "101"), ("random_share", "nan"), ("random_share", "inf"), ("random_share", "-1"),
        ("overlap", "0"), ("overlap", "21"), ("posterior_samples", "1"), ("posterior_samples", "1e9"),
        ("coldness", "0"), ("coldness", "nan"), ("acquisition", "best"), ("estimator", "__class__"),
        ("holdout_share", "91"), ("schedule_at", "25:00"), ("schedule_days", ["7"]), ("retrain_every", "1.5"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_beside_the_field(project, manager, client_of, sane, field, value) -> None:
    before = LearningConfig.objects.filter(project=project).values().get()
    reply = client_of(manager).post(url(project, "learning-settings"), {**sane, field: value})
    assert reply.status_code == 200
    assert list(reply.context["form"].errors) == [field]
    assert "field-error" in reply.content.decode()
    assert LearningConfig.objects.filter(project=project).values().get() == before


def test_without_a_holdout_it_says_that_nothing_is_measured(project, manager, client_of, sane, make_images) -> None:
    client, form = client_of(manager), {**sane, "holdout_share": 0}
    assert "not be measured" in client.post(url(project, "learning-settings"), form, follow=True).content.decode()
    make_images(project, 1, is_holdout=True)
    assert "not be measured" not in client.post(url(project, "learning-settings"), form, follow=True).content.decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"overlap": 5}, "waits for 5 people"),
        ({"retrain_every": 500}, "when it runs dry"),
        ({"retrain_every": 0}, "only by the button"),
        ({"holdout_questions": 0}, "rests on the answers so far"),
    ],
)
def test_what_is_sound_but_surprising_is_saved_and_said(project, manager, client_of, sane, change, words) -> None:
    reply = client_of(manager).post(url(project, "learning-settings"), {**sane, **change}, follow=True)
    assert words in reply.content.decode()
    name, value = next(iter(change.items()))
    assert getattr(LearningConfig.objects.get(project=project), name) == value


# --- Two managers at once ---------------------------------------------------------------------------------------------


def test_what_somebody_else_has_set_since_is_not_overwritten_unseen(project, manager, client_of, sane) -> None:
    client, page = client_of(manager), url(project, "learning-settings")
    others = {**sane, "overlap": 2, "random_share": "25", "schedule_at": "02:00", "estimator": "swag", "coldness": 4}
    assert client.post(page, others).status_code == 302
    mine = {**sane, "budget": 50, "coldness": 4}
    reply = client.post(page, mine)
    assert "somebody else (or you, in another tab) has changed this" in reply.content.decode()
    fields = LearningForm.base_fields
    labels = ", ".join(str(fields[name].label) for name in ("schedule_at", "overlap", "random_share", "estimator"))
    assert reply.context["form"].errors == {
        "overlap": ["Now saved: “2”."], "random_share": ["Now saved: “25”."], "schedule_at": ["Now saved: “02:00”."],
        "estimator": ["Now saved: SWAG."], "__all__": [OVERTAKEN.format(labels)],
    }  # fmt: skip
    learning = LearningConfig.objects.get(project=project)
    assert (learning.budget, learning.overlap, learning.estimator) == (100, 2, "swag")
    again = {**mine, "made_from": reply.context["form"].made_from}
    assert f'value="{again["made_from"]}"' in reply.content.decode()
    assert client.post(page, again).status_code == 302
    learning.refresh_from_db()
    assert (learning.budget, learning.overlap, learning.random_share, learning.coldness) == (50, 1, 0.1, 4)
    assert schedule_of(learning) is None


def test_a_mistake_beside_it_hides_nothing_of_what_was_set_since(project, manager, client_of, sane) -> None:
    client, page = client_of(manager), url(project, "learning-settings")
    client.post(page, {**sane, "overlap": 2})
    reply = client.post(page, {**sane, "overlap": 0, "budget": 0})
    assert reply.context["form"].errors["overlap"] == ["1 or more.", "Now saved: “2”."]
    assert reply.context["form"].errors["budget"] == ["1 or more."]


def test_a_form_that_does_not_say_what_it_was_made_from_overwrites_nothing(project, manager, client_of, sane) -> None:
    client = client_of(manager)
    del sane["made_from"]
    reply = client.post(url(project, "learning-settings"), {**sane, "budget": 50})
    assert reply.context["form"].errors["budget"] == ["Now saved: “100”."]
    assert LearningConfig.objects.get(project=project).budget == 100


def test_guidelines_that_somebody_else_has_changed_since_are_shown(project, manager, client_of) -> None:
    client, page = client_of(manager), url(project, "settings")
    shown = made_from(client, project, "settings")
    client.post(page, {"name": "Signs", "guidelines": "Theirs <b>", **shown})
    reply = client.post(page, {"name": "Zeichen", "guidelines": "Mine", **shown})
    assert "Now saved: “Theirs &lt;b&gt;”." in reply.content.decode()
    project.refresh_from_db()
    assert (project.name, project.guidelines) == ("Signs", "Theirs <b>")
    again = {"name": "Zeichen", "guidelines": "Mine", "made_from": reply.context["form"].made_from}
    assert client.post(page, again).status_code == 302
    project.refresh_from_db()
    assert (project.name, project.guidelines) == ("Zeichen", "Mine")


# --- Schedule ---------------------------------------------------------------------------------------------------------


def test_a_schedule_becomes_one_row_of_beat_and_goes_again(project, manager, client_of, sane) -> None:
    client, page = client_of(manager), url(project, "learning-settings")
    for _ in range(2):
        reply = client.post(page, {**sane, "schedule_at": "02:00"}, follow=True)
    assert "every day at 02:00" in reply.content.decode()
    task = PeriodicTask.objects.get(task="labeler.scheduled_round")
    assert json.loads(task.args) == [project.pk]
    assert (task.crontab.hour, task.crontab.minute, task.crontab.day_of_week) == ("2", "0", "*")
    shown = made_from(client, project, "learning-settings")
    client.post(page, {**sane, **shown, "schedule_at": "23:30", "schedule_days": [5, 0]})
    task.refresh_from_db()
    assert (task.crontab.hour, task.crontab.minute, task.crontab.day_of_week) == ("23", "30", "0,5")
    assert schedule_words(LearningConfig.objects.get(project=project)) == "Friday and Sunday at 23:30 UTC"
    client.post(page, {**sane, **made_from(client, project, "learning-settings"), "schedule_at": ""})
    assert not PeriodicTask.objects.filter(task="labeler.scheduled_round").exists()
    assert not CrontabSchedule.objects.filter(hour="23").exists()
    assert LearningConfig.objects.get(project=project).schedule is None


def test_the_grid_is_refused_where_several_people_answer(project, manager, client_of, sane) -> None:
    for grid in ("managers", "everybody"):
        reply = client_of(manager).post(url(project, "learning-settings"), {**sane, "grid": grid, "overlap": "2"})
        assert list(reply.context["form"].errors) == ["grid"]
    assert LearningConfig.objects.get(project=project).grid == "off"


def test_a_time_without_a_day_is_refused(project, manager, client_of, sane) -> None:
    form = {**sane, "schedule_at": "02:00", "schedule_days": []}
    reply = client_of(manager).post(url(project, "learning-settings"), form)
    assert list(reply.context["form"].errors) == ["schedule_days"]
    assert not PeriodicTask.objects.filter(task="labeler.scheduled_round").exists()


def test_the_schedule_keeps_the_sites_time_zone(project, settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    set_schedule(project=project, at=time(2), days=WEEK)
    learning = LearningConfig.objects.get(project=project)
    assert str(learning.schedule.crontab.timezone) == "Europe/Berlin"
    assert schedule_of(learning).at == time(2)


@pytest.mark.parametrize("days", [[], [7], [1, 1, 9]])
def test_days_that_are_none_are_an_error(project, days) -> None:
    with pytest.raises(ValueError, match="days are some of"):
        set_schedule(project=project, at=time(2), days=days)


@pytest.mark.parametrize("name", ["settings", "classes", "learning-settings"])
def test_wrong_methods(project, manager, client_of, name) -> None:
    assert client_of(manager).delete(url(project, name)).status_code == 405
    assert client_of(manager).put(url(project, name)).status_code == 405


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["0", "1", "2", "9"], ["0", "1", "2", "9"]),
        (["zero", "one", "Nine"], ["0", "1", "9"]),
        (["bus", "1", "one", "d"], ["2", "1", "3", "d"]),
        (["s", "10", "tram"], ["1", "2", "3"]),  # s is the key for a skip, as c is for a comment
    ],
)
def test_a_class_that_is_named_like_a_key_gets_that_key(names, keys) -> None:
    """Pressing 4 and answering 3 is a mistake that nobody sees."""
    assert classes.keys_for(names, taken=set()) == keys
    assert not set(classes.keys_for(names, taken=set(keys))) & set(keys)
