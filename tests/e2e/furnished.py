"""A project with something on every page of it: for tests that walk all pages, and for the pictures in docs/pages.md.

Digits that come with scikit-learn. What its models say is made up, and measured and judged like any other.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from pathlib import Path
from uuid import uuid4

import numpy as np
from django.urls import NoReverseMatch, reverse

from labeler import clock
from labeler.learning import measure_answers
from labeler.models import (
    Annotation,
    ClassChange,
    ExportJob,
    Image,
    ImageState,
    ImportJob,
    Invitation,
    JobState,
    LabelClass,
    Membership,
    ModelExport,
    Notice,
    Outcome,
    PoolNetwork,
    Prediction,
    Project,
    Role,
    Round,
    RoundState,
    Trigger,
    User,
    Webhook,
    Worker,
)
from labeler.models.rounds import UNFINISHED
from labeler.naming import DIGIT_WORDS
from labeler.selectors.explore import gallery_pages
from labeler.selectors.reruns import TRAINING
from labeler.services.annotate import record_answer
from labeler.services.claims import lost_words
from labeler.services.class_changes import archive_class
from labeler.services.classes import add_classes, allow_proposals
from labeler.services.comments import comment_image, show_example
from labeler.services.exporting import create_export, run_export
from labeler.services.gold import mark_labels_gold
from labeler.services.importing import KEPT_WORDS, import_local
from labeler.services.invitations import invite
from labeler.services.notices import note_failure
from labeler.services.projects import change_learning, create_project
from labeler.services.proposals import record_proposal
from labeler.services.quality import run_quality
from labeler.services.rounds import config_of
from labeler.storage import round_folder
from labeler.told import ntold, together, told
from tests.labeler.judged import finish, round_to_judge
from tests.labeler.queues import fresh
from tests.labeler.scored import scored_round
from tests.labeler.test_access_matrix import World, names

HOLDOUT, LABELLED, ZOOM = 60, 80, 4  # images of each kind; a pixel of a digit becomes so many squared
SCALES = {
    "expected_entropy": 0.85, "mutual_information": 0.15, "variation_ratio": 0.35, "mean_std": 0.06, "margin": 0.4,
    "least_confidence": 0.35, "std_entropy": 0.2, "epig": 0.03,
}  # fmt: skip
ERRORS = {"mia": 0.02, "ann": 0.05, "bob": 0.2}
NOTES = [
    "1 of 10 classes has a single label",
    "it learned from 1,640 images besides, that look like those with an answer",
]
GUIDELINES = "Which digit is it? A seven may have a bar. An open four is a four."


def furnish(name: str) -> tuple[Project, str]:
    """A project of mia's that is in the middle of its work, and where an invitation to it is. Ann and Bob are in it."""
    mia = User.objects.get(username="mia")
    project = create_project(name=name, guidelines=GUIDELINES, class_names=DIGIT_WORDS, by=mia)
    for username in ("ann", "bob"):
        Membership.objects.create(project=project, user=User.objects.get(username=username), role=Role.ANNOTATOR)
    values = {"overlap": 2, "budget": 40, "gold_share": 0.05, "retrain_every": 0, "holdout_target": 100}
    change_learning(project=project, values=values)
    truth = _import(project, mia)
    _answer(project, truth)
    mark_labels_gold(project=project, positions=range(HOLDOUT, HOLDOUT + 6), by=mia)
    run_quality(project_id=project.pk, measure=measure_answers)
    allow_proposals(project=project, is_allowed=True)
    for image in Image.objects.filter(project=project, label__isnull=False).order_by("position")[:5]:
        show_example(project=fresh(project), image_id=image.pk, by=mia)
    _judge_rounds(project, truth)
    _propose(project)
    add_classes(project=project, names=["smudge"])
    archive_class(label_class=project.classes.get(name="smudge"), by=mia)
    invitation = invite(project=project, role=Role.ANNOTATOR, note="for Carl", by=mia)
    run_export(job_id=create_export(project=project, by=mia, file_format="csv", includes_unlabelled=False).pk)
    full = told("The storage is full. Make room, then try again; nothing was lost.")
    words = together(full, KEPT_WORDS)
    ImportJob.objects.create(project=project, created_by=mia, state=JobState.FAILED, error=words)
    for kind in (Round, ImportJob):
        kind.objects.filter(project=project, finished_at=None).update(started_at=clock.now(), finished_at=clock.now())
    for queue in ("learner", "default", "imports", "messages", "background", "beat"):
        Worker.objects.create(name=f"{queue}@here", queues=queue, doing="")
    return project, reverse("invitation", args=[invitation.token])


def _import(project: Project, by: User) -> np.ndarray:
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = 255 - np.rint(digits.images[:240] * (255 / 16)).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.npz"
        np.savez(path, x=np.kron(pixels, np.ones((1, ZOOM, ZOOM), np.uint8)))
        import_local(project=project, path=path, by=by)
        broken = Path(folder) / "scans.zip"
        with zipfile.ZipFile(broken, "w") as archive:
            archive.writestr("scans/page-1.png", b"not a picture")
            archive.writestr("scans/notes.txt", b"read me")
        import_local(project=project, path=broken, by=by)
    images = Image.objects.filter(project=project).order_by("position")
    images.filter(position__lt=HOLDOUT).update(is_holdout=True)
    project.refresh_from_db()
    return np.asarray(digits.target[: images.count()])


def _answer(project: Project, truth: np.ndarray) -> None:
    """Ann and Bob answer, and differ here and there; where they agree the image has its label."""
    rng = np.random.default_rng(0)
    classes = list(LabelClass.objects.filter(project=project))
    for image in Image.objects.filter(project=project, position__lt=HOLDOUT + LABELLED).order_by("position"):
        for name in ("ann", "bob"):
            is_wrong = rng.random() < ERRORS[name]
            said = classes[(truth[image.position] + is_wrong) % len(classes)]
            record_answer(
                project=fresh(project),
                annotator=User.objects.get(username=name), image_id=image.pk, candidate_id=None, outcome=Outcome.LABEL,
                label_class_id=said.pk, key=uuid4(), seconds=float(rng.uniform(0.8, 3)),
            )  # fmt: skip


def _judge_rounds(project: Project, truth: np.ndarray) -> None:
    """Two that take charge, one that is refused, a comparison, one that failed."""
    project.rounds.filter(state__in=UNFINISHED).delete()  # nobody would make it
    rng, newest = np.random.default_rng(1), Annotation.objects.latest("pk").pk
    for spent, errors in ((40, 0.3), (90, 0.1), (140, 0.45)):
        project = fresh(project)
        means = _said(truth, errors, rng)
        reason = ntold("%(count)s new answer", "%(count)s new answers", spent)
        values = {
            "answers_spent": spent,
            "training_count": spent,
            "last_annotation_id": newest,
            "reason": reason,
            "notes": NOTES,
        }
        _keep_training(finish(round_to_judge(project, means, scales=SCALES, **values)), spent)
    stds = rng.uniform(0.01, 0.2, means.shape)
    scored_round(
        project, _said(truth, 0.15, rng).tolist(), stds.tolist(), trigger=Trigger.COMPARISON, number=number_of(project),
    )  # fmt: skip
    Round.objects.create(
        project=project, number=number_of(project), trigger=Trigger.BUTTON, seed=0,
        reason=told("%(person)s asked for it", person="mia"),
        state=RoundState.FAILED, config=config_of(project.learning), attempts=3,
        error=lost_words(3),
    )  # fmt: skip


def _told_of(project: Project) -> Notice:
    failed = project.rounds.filter(state=RoundState.FAILED)[0]
    note_failure(round_=failed, error=failed.error)
    return Notice.objects.get(project=project, round=failed)


def _keep_training(round_: Round, count: int) -> None:
    """What a learner would have kept beside the model, as far as pages read it."""
    labelled = Image.objects.filter(project=round_.project, is_holdout=False, label__isnull=False).order_by("position")
    pairs = labelled.values_list("position", "label_id")[:count]
    positions, labels = (np.array(each) for each in zip(*pairs, strict=True))
    np.savez(round_folder(round_) / TRAINING, positions=positions, labels=labels)


def number_of(project: Project) -> int:
    """Of the next round."""
    return project.rounds.count() + 1


def _said(truth: np.ndarray, errors: float, rng: np.random.Generator) -> np.ndarray:
    classes = 10
    logits = rng.normal(0, 1, (len(truth), classes))
    said = np.where(rng.random(len(truth)) < errors, (truth + rng.integers(1, 4, len(truth))) % classes, truth)
    logits[np.arange(len(truth)), said] += rng.uniform(1, 6, len(truth))
    probabilities = np.exp(logits)
    return np.asarray(probabilities / probabilities.sum(1, keepdims=True))


def _propose(project: Project) -> None:
    ann = User.objects.get(username="ann")
    image = Image.objects.filter(project=project, state=ImageState.POOL, is_holdout=False).last()
    key = uuid4()

    def save(label_class_id: int) -> Annotation:
        return record_answer(
            project=fresh(project), annotator=ann, image_id=image.pk, candidate_id=None, outcome=Outcome.LABEL,
            label_class_id=label_class_id, key=key, seconds=4.0,
        )  # fmt: skip

    record_proposal(project=fresh(project), annotator=ann, name="letter", key=key, save=save)


def addresses(project: Project) -> dict[str, str]:
    """Of every name that there is, whatever it answers. A new one that the matrix knows is among them."""
    network = PoolNetwork.objects.create(
        project=project,
        seed=0,
        labels={"classes": [], "positions": [], "labels": []},
        answers=40,
        checkpoint="",
        state=JobState.CANCELLED,
        finished_at=clock.now(),
    )
    done = Round.objects.filter(project=project, standing="accepted").order_by("-number").first()
    image = Image.objects.filter(project=project, position=HOLDOUT + 10).get()
    export = ModelExport.objects.create(
        project=project, round=done, state=JobState.FAILED,
        error=told("Which images look alike is not known any more. Try again in a few minutes."),
    )  # fmt: skip
    world = World(
        project,
        {
            "class": project.classes.first().pk, "image": image.pk, "format": "csv",
            "change": ClassChange.objects.filter(project=project).first().pk,
            "member": project.memberships.get(user__username="bob").pk,
            "invitation": Invitation.objects.get(project=project).pk,
            "comment": comment_image(
                project=project, image_id=image.pk, by=User.objects.get(username="ann"), text="Upside down?",
                key=uuid4(),
            ).pk,
            "notice": _told_of(project).pk,
            "import": ImportJob.objects.filter(project=project, refused__gt=0).first().pk,
            "export": ExportJob.objects.get(project=project).pk,
            "webhook": Webhook.objects.create(project=project, address="https://a.org/", events=["round_done"]).pk,
            "network": network.pk, "round": done.number, "scored": done.number, "position": image.position,
            "prediction": Prediction.objects.create(
                project=project, name="new photographs.zip", state=JobState.DONE, format="csv", done=120, refused=3,
                model=export,
            ).pk,
            "returned": project.audit.latest("id").pk, "gallery": "sure",
            "person": User.objects.get(username="ann").pk,
        },
    )  # fmt: skip
    found = {name: _address(world, name) for name in sorted(names())}
    of_rounds = {
        f"round {round_.standing or round_.state}": reverse("round", args=[project.slug, round_.number])
        for round_ in project.rounds.order_by("-number")
    }
    galleries = {f"gallery {name}": reverse("gallery", args=[project.slug, name]) for name, _ in gallery_pages()}
    images = Image.objects.filter(project=project)
    others = {
        "image contested": reverse("image", args=[project.slug, images.filter(is_contested=True)[0].pk]),
        "image gold": reverse("image", args=[project.slug, images.get(position=HOLDOUT).pk]),
        "import failed": reverse("import", args=[project.slug, ImportJob.objects.filter(state=JobState.FAILED)[0].pk]),
        "answers of all": reverse("images", args=[project.slug]) + "?state=labelled",
        "merging": reverse("class-merge", args=[project.slug, done.classes[0]]) + f"?into={done.classes[6]}",
        "splitting": reverse("class-split", args=[project.slug, done.classes[0]]) + "?names=round%0Aoval",
        "confusion": reverse("round-confusion", args=[project.slug, done.number]) + _confused(done),
    }
    return found | of_rounds | galleries | others


def _confused(round_: Round) -> str:
    """The cell of the confusion matrix with the most mistakes."""
    counts = np.array(round_.metrics["confusion"])
    np.fill_diagonal(counts, 0)
    said, predicted = np.unravel_index(counts.argmax(), counts.shape)
    return f"?said={round_.classes[said]}&predicted={round_.classes[predicted]}"


def _address(world: World, name: str) -> str:
    try:
        return world.url(name)
    except NoReverseMatch:  # not of a project
        return reverse(name, args={"invitation": ["gone"], "script-words": ["de"], "token-revoke": [1]}.get(name, []))


if __name__ == "__main__":
    sys.exit("This is a part of tests/e2e/backstage.py.")
