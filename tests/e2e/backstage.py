"""What a browser test needs of its server's database, as a process of its own: `python -m tests.e2e.backstage`.

It takes a command a line, as JSON, and answers each with a line: what the command said, and what went wrong. To start
takes longer than most commands do.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import traceback
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import django
import numpy as np

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labeler.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.sessions.models import Session  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.utils import timezone  # noqa: E402

from labeler.models import (  # noqa: E402
    Annotation,
    Candidate,
    Image,
    ImageState,
    Membership,
    Outcome,
    Project,
    Role,
    Round,
    User,
    Worker,
)
from labeler.services.claims import fail_round  # noqa: E402
from labeler.services.class_changes import archive_class, merge_class, split_class  # noqa: E402
from labeler.services.classes import add_classes, allow_proposals  # noqa: E402
from labeler.services.comments import close_comment, comment_image  # noqa: E402
from labeler.services.importing import import_local  # noqa: E402
from labeler.services.projects import change_learning, create_project  # noqa: E402
from tests.labeler.scored import scored_round  # noqa: E402

PEOPLE = {"mia": Role.MANAGER, "ann": Role.ANNOTATOR, "bob": Role.ANNOTATOR}


def prepare() -> None:
    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    for name in PEOPLE:
        User.objects.create_user(name, password=os.environ["PASSWORD"])


def forget_language(username: str) -> None:
    User.objects.filter(username=username).update(language="")


def make(slug: str, images: str, classes: str, guidelines: str) -> None:
    """No model is trained: nothing but the server runs."""
    manager = User.objects.get(username="mia")
    project = create_project(name=slug, guidelines=guidelines, class_names=classes.split(), by=manager)
    assert project.slug == slug
    change_learning(project=project, values={"retrain_every": 0, "holdout_share": 0.0, "budget": int(images)})
    for name, role in PEOPLE.items():
        user = User.objects.get(username=name)
        Membership.objects.get_or_create(project=project, user=user, defaults={"role": role})
    pixels = np.random.default_rng(len(slug)).integers(0, 256, (int(images), 28, 28), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npz"
        np.savez(path, x=pixels)
        job = import_local(project=Project.objects.get(pk=project.pk), path=path, by=manager)
    assert job.added == int(images), job.error


def answers(slug: str) -> None:
    live = Annotation.objects.filter(project__slug=slug, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    names = [row.label_class.name if row.label_class else row.outcome for row in live.select_related("label_class")]
    sys.stdout.write(" ".join(names))


def sign_in(username: str) -> None:
    """Prints the key of a new session."""
    client = Client()
    client.force_login(User.objects.get(username=username))
    sys.stdout.write(client.cookies[settings.SESSION_COOKIE_NAME].value)


def sign_everybody_out() -> None:
    Session.objects.all().delete()


def rows(slug: str) -> None:
    sys.stdout.write(str(Annotation.objects.filter(project__slug=slug).count()))


def archive(slug: str, name: str) -> None:
    archive_class(label_class=Project.objects.get(slug=slug).classes.get(name=name))


def delete_class(slug: str, name: str) -> None:
    """What no page can do: an answer that names it is refused."""
    Project.objects.get(slug=slug).classes.get(name=name).delete()


def merge(slug: str, name: str, into: str) -> None:
    classes = Project.objects.get(slug=slug).classes
    merge_class(label_class=classes.get(name=name), into=classes.get(name=into), by=None)


def split(slug: str, name: str, parts: str) -> None:
    split_class(label_class=Project.objects.get(slug=slug).classes.get(name=name), names=parts.split(), by=None)


def take_proposals(slug: str, whether: str = "yes") -> None:
    allow_proposals(project=Project.objects.get(slug=slug), is_allowed=whether == "yes")


def reply(slug: str, username: str, text: str) -> None:
    """A manager answers a comment of this person."""
    project, person = Project.objects.get(slug=slug), User.objects.get(username=username)
    image = Image.objects.filter(project=project).first()
    comment = comment_image(project=project, by=person, image_id=image.pk, text="What is this?", key=uuid4())
    close_comment(project=project, by=User.objects.get(username="mia"), comment_id=comment.pk, reply=text)


def labels(slug: str) -> None:
    """The labels of the images that have one, in the order of their positions."""
    labelled = Image.objects.filter(project__slug=slug, label__isnull=False).order_by("position")
    sys.stdout.write(" ".join(labelled.values_list("label__name", flat=True)))


def add_class(slug: str, *names: str) -> None:
    add_classes(project=Project.objects.get(slug=slug), names=names)


def age(slug: str) -> None:
    """All answers become those of the day before yesterday."""
    Annotation.objects.filter(project__slug=slug).update(created_at=timezone.now() - timedelta(days=2))


def leases(slug: str) -> None:
    sys.stdout.write(str(Candidate.objects.filter(project__slug=slug, leased_to__isnull=False, state="open").count()))


def learning(slug: str, name: str, value: str) -> None:
    change_learning(project=Project.objects.get(slug=slug), values={name: value})


def likely(slug: str) -> None:
    """The queue is chosen by a model that takes every image for the first class."""
    project = Project.objects.get(slug=slug)
    said = [{"class": project.classes.all()[0].pk, "mean": 0.93, "std": 0.04}]
    Candidate.objects.filter(project=project).update(reason="acquired", details={"likely": said})


def alike(slug: str) -> None:
    """The first question stands for a group, of which others are shown."""
    project = Project.objects.get(slug=slug)
    change_learning(project=project, values={"shows_alike": True})
    places = list(Candidate.objects.filter(project=project, state="open").order_by("rank"))
    members = [place.image_id for place in places[-4:]]
    details = {"group": 900, "alike": 300, "groups": 12, "members": members}
    Candidate.objects.filter(pk=places[0].pk).update(reason="group", details=details)


def suggested(slug: str) -> None:
    """Of each answer the class, and how the model's word was shown."""
    rows = Annotation.objects.filter(project__slug=slug, outcome=Outcome.LABEL).order_by("pk")
    sys.stdout.write(" ".join(f"{row.label_class.name}:{row.suggestion or 'hidden'}" for row in rows))


def check_first(slug: str) -> None:
    """The checks of the grid come first."""
    for rank, place in enumerate(Candidate.objects.filter(project__slug=slug, reason="grid_check", state="open")):
        Candidate.objects.filter(pk=place.pk).update(rank=rank - 1000)


def score(slug: str) -> None:
    """A finished round whose model is sure of most images and lost on the last five."""
    project = Project.objects.select_related("learning").get(slug=slug)
    n, classes = project.chunks.get().count, project.classes.count()
    rng = np.random.default_rng(0)
    means = np.full((n, classes), 0.04 / (classes - 1))
    means[np.arange(n), np.arange(n) % classes] = 0.96
    stds = rng.uniform(0.02, 0.06, (n, classes))
    means[-5:], stds[-5:] = 1 / classes, 0.4
    scored_round(project, means.tolist(), stds.tolist())


def measure(slug: str) -> None:
    """The first twelve images become the holdout, and people say of all that they are of the first class."""
    project = Project.objects.get(slug=slug)
    first = Image.objects.filter(project=project, position__lt=12)
    first.update(is_holdout=True, state=ImageState.LABELLED, label=project.classes.first())


def fail(slug: str) -> None:
    """A round is begun and fails."""
    fields = {"trigger": "button", "reason": "", "seed": 0, "state": "fitting", "claim": "mine"}
    round_ = Round.objects.create(project=Project.objects.get(slug=slug), number=50, **fields)
    fail_round(round_id=round_.pk, claim="mine", words="It broke.")


def hold_out(slug: str) -> None:
    Image.objects.filter(project__slug=slug).update(is_holdout=True)


def confuse(slug: str) -> None:
    """The first round becomes one that was measured."""
    project = Project.objects.get(slug=slug)
    classes = list(project.classes.values_list("pk", flat=True))
    interval = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 1300}
    figures = dict.fromkeys(("accuracy", "nll", "brier", "ece"), interval)
    confusion = [[1200, 1, 0], [0, 30, 2], [5, 0, 62]]
    metrics = {"n": 1300, **figures, "recall": [interval] * 3, "confusion": confusion}
    project.rounds.filter(number=1).update(metrics=metrics, classes=classes)


def dispute(slug: str, count: str) -> None:
    """Ann and Bob have answered the first images, and contradict each other; they agree about as many more."""
    project = Project.objects.get(slug=slug)
    first, second = project.classes.all()[:2]
    for image in Image.objects.filter(project=project, position__lt=2 * int(count)):
        is_agreed = image.position >= int(count)
        for name, label in (("ann", first), ("bob", first if is_agreed else second)):
            Annotation.objects.create(
                project=project, image=image, annotator=User.objects.get(username=name), outcome=Outcome.LABEL,
                label_class=label, key=uuid4(), seconds=1.5,
            )  # fmt: skip
        state = ImageState.LABELLED if is_agreed else ImageState.DISPUTED
        Image.objects.filter(pk=image.pk).update(
            state=state, label=first if is_agreed else None, is_contested=not is_agreed
        )


def states(slug: str) -> None:
    """Of all images in order: the class, or the state."""
    rows = Image.objects.filter(project__slug=slug).select_related("label").order_by("position")
    sys.stdout.write(" ".join(row.label.name if row.label else row.state for row in rows))


def judge(slug: str) -> None:
    """What a worker would measure of the answers."""
    from labeler.learning import measure_answers
    from labeler.services.quality import run_quality

    run_quality(project_id=Project.objects.get(slug=slug).pk, measure=measure_answers)


def make_bands(slug: str) -> None:
    """A pool whose classes are seen at a glance: a bright band in one of three places. 36 images are the holdout, all
    labelled; 30 others have their labels. Rounds start by the button alone."""
    manager = User.objects.get(username="mia")
    project = create_project(
        name=slug, guidelines="Where is the band?", class_names=["top", "middle", "low"], by=manager
    )
    quick = {
        "retrain_every": 0, "holdout_share": 0.0, "budget": 20, "holdout_questions": 0.0, "posterior_samples": 8,
        "learns_from": "images", "architecture": "mlp", "trains_network": False,
    }  # fmt: skip
    change_learning(project=project, values=quick)
    Membership.objects.create(project=project, user=User.objects.get(username="ann"), role=Role.ANNOTATOR)
    pixels = np.random.default_rng(0).integers(0, 90, (180, 12, 12), dtype=np.uint8)
    for position in range(len(pixels)):
        pixels[position, 4 * (position % 3) : 4 * (position % 3) + 4] += 120
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npz"
        np.savez(path, x=pixels)
        import_local(project=Project.objects.get(pk=project.pk), path=path, by=manager)
    classes = list(project.classes.all())
    for image in Image.objects.filter(project=project, position__lt=66):
        image.is_holdout, image.state, image.label = (
            image.position < 36,
            ImageState.LABELLED,
            classes[image.position % 3],
        )
        image.save()


def mislead(slug: str) -> None:
    """Who answered took every low band for one in the middle."""
    project = Project.objects.get(slug=slug)
    _, middle, low = project.classes.all()
    Image.objects.filter(project=project, is_holdout=False, label=low).update(label=middle)


def queue(slug: str) -> None:
    """Positions of what is asked next, in order."""
    places = Candidate.objects.filter(project__slug=slug, state="open").order_by("rank", "slot")
    sys.stdout.write(" ".join(str(position) for position in places.values_list("image__position", flat=True)[:10]))


def furnish_all(name: str) -> None:
    """Something on every page. Prints the address of every name, and an open invitation."""
    from tests.e2e.furnished import addresses, furnish

    project, invitation = furnish(name)
    sys.stdout.write(json.dumps({"addresses": addresses(project), "invitation": invitation}))


def alive() -> None:
    """All workers have just said so."""
    Worker.objects.update(seen_at=timezone.now())


def open_grid(slug: str) -> None:
    project = Project.objects.get(slug=slug)
    change_learning(project=project, values={"overlap": 1, "grid": "everybody"})


COMMANDS = {
    "alive": alive,
    "open-grid": open_grid,
    "furnish": furnish_all,
    "prepare": prepare,
    "make": make,
    "answers": answers,
    "rows": rows,
    "sign-in": sign_in,
    "sign-out": sign_everybody_out,
    "archive": archive,
    "add-class": add_class,
    "forget-language": forget_language,
    "delete-class": delete_class,
    "merge": merge,
    "split": split,
    "take-proposals": take_proposals,
    "reply": reply,
    "labels": labels,
    "age": age,
    "leases": leases,
    "score": score,
    "learning": learning,
    "alike": alike,
    "likely": likely,
    "suggested": suggested,
    "check_first": check_first,
    "measure": measure,
    "queue": queue,
    "dispute": dispute,
    "states": states,
    "judge": judge,
    "make-bands": make_bands,
    "mislead": mislead,
    "fail": fail,
    "hold-out": hold_out,
    "confuse": confuse,
}


def serve() -> None:
    """Until nobody asks any more. Nothing is kept from one command to the next but what has been loaded."""
    replies = sys.stdout
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        said, error = io.StringIO(), ""
        try:
            with redirect_stdout(said):
                COMMANDS[name](*arguments)
        except Exception:  # noqa: BLE001  (the test that asked says so)
            error = traceback.format_exc()
        connection.close()
        replies.write(json.dumps({"said": said.getvalue(), "error": error}) + "\n")
        replies.flush()


if __name__ == "__main__":
    serve()
