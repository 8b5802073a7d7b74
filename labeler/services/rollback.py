"""A model put in charge by a person, kept there, and released."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils.translation import gettext as _

from labeler import clock
from labeler.models import AuditKind, ModelChange, Project, Round, RoundState, Standing, Trigger, User
from labeler.models.rounds import UNFINISHED
from labeler.selectors.charge import why_not_in_charge
from labeler.selectors.spent import answers_spent
from labeler.services import audit
from labeler.services.claims import SCORE
from labeler.services.rounds import RoundRefused, add_round, newest_round, nothing_to_try
from labeler.told import Told, told
from labeler.wake import wake

TOOK = [Standing.ACCEPTED, Standing.CHOSEN]


@transaction.atomic
def put_in_charge(*, round_: Round, by: User) -> bool:
    """Put a round's model in charge and keep it there until somebody releases it. False: it was kept already.

    What pages say of images is what it says from now on. The queue is made again by a learner, from its scores; where a
    round is running, when that has ended. Accepted rounds after it are rolled back. Raises RoundRefused.
    """
    project = _locked(round_.project_id)
    round_ = Round.objects.get(pk=round_.pk)
    if words := why_not_in_charge(round_):
        raise RoundRefused(words)
    if project.model_round_id == round_.pk and project.model_kept_since is not None:
        return False
    later = Round.objects.filter(project=project, number__gt=round_.number, standing__in=TOOK)
    later.update(standing=Standing.ROLLED_BACK)
    if round_.standing != Standing.ACCEPTED:
        Round.objects.filter(pk=round_.pk).update(standing=Standing.CHOSEN)
    _record(project, ModelChange.Kind.PUT, round_, by)
    kept = {"model_kept_by": by, "model_kept_since": clock.now()}
    Project.objects.filter(pk=project.pk).update(model_round=round_, **kept)
    if project.queue_round is None or project.queue_round.asked_by_id != round_.pk:
        _make_queue(project, round_, _put(by, round_), by)
    return True


@transaction.atomic
def release_model(*, project: Project, by: User) -> bool:
    """Let later rounds take charge again. False: no model is kept. The queue stays as it is."""
    project = _locked(project.pk)
    if project.model_kept_since is None:
        return False
    _record(project, ModelChange.Kind.RELEASED, project.model_round, by)
    Project.objects.filter(pk=project.pk).update(model_kept_by=None, model_kept_since=None)
    return True


@transaction.atomic
def remake_queue(*, round_: Round, by: User) -> Round | None:
    """Once more, after a round that was to make the queue again and failed or was cancelled. None: one is unfinished.
    Raises RoundRefused."""
    project = _locked(round_.project_id)
    if round_.state not in (RoundState.FAILED, RoundState.CANCELLED):
        raise RoundRefused(nothing_to_try(round_))
    if (model := project.model_round) is None:
        raise RoundRefused(_("No model is in charge any more, so there is nothing that could choose a queue."))
    return _make_queue(project, model, _tried(by, round_), by)


def sweep_charge() -> int:
    """Make the queues that still wait: a round ran when the model was put in charge, and ended without a queue."""
    unfinished = Round.objects.filter(project=OuterRef("pk"), state__in=UNFINISHED)
    tried = Round.objects.filter(
        project=OuterRef("pk"), trigger=Trigger.CHARGE, created_at__gte=OuterRef("model_kept_since")
    )
    waiting = Project.objects.filter(~Exists(unfinished), ~Exists(tried), model_kept_since__isnull=False)
    waiting = waiting.filter(model_round__isnull=False, paused_at=None).exclude(queue_round__asked_by=F("model_round"))
    return sum(_make_again(pk) for pk in waiting.values_list("pk", flat=True))


@transaction.atomic
def _make_again(project_id: int) -> int:
    project = _locked(project_id)
    model = project.model_round
    if model is None or project.model_kept_since is None:
        return 0
    return int(
        _make_queue(project, model, told("the model of round %(number)s is in charge", number=str(model.number)), None)
        is not None
    )


def _make_queue(project: Project, model: Round, reason: str, by: User | None) -> Round | None:
    """A round that fits and scores nothing: a learner chooses by the scores of a model that there is. None: one is
    unfinished, or the project is paused: then the sweep makes it afterwards. It has seen no answer that the last had
    not, so that the same answers start the next."""
    if project.paused_at is not None:
        return None
    last = newest_round(project)
    round_ = add_round(
        project=project,
        trigger=Trigger.CHARGE,
        reason=reason,
        requested_by=by,
        state=RoundState.ACQUIRING,
        classes=model.classes,
        training_count=last.training_count if last else 0,
        last_annotation_id=last.last_annotation_id if last else 0,
        answers_spent=answers_spent(project),
        asked_by=model,
    )
    if round_ is not None:
        wake(SCORE, round_.pk)
    return round_


def _put(by: User, round_: Round) -> Told:
    return told(
        "%(person)s put the model of round %(number)s in charge", person=by.get_username(), number=str(round_.number)
    )


def _tried(by: User, round_: Round) -> Told:
    return told("%(person)s tried round %(number)s again", person=by.get_username(), number=str(round_.number))


def _record(project: Project, kind: str, round_: Round | None, by: User) -> None:
    ModelChange.objects.create(project=project, kind=kind, round=round_, former_id=project.model_round_id, by=by)
    number = round_.number if round_ is not None else None
    shown = str(number)
    words = {
        ModelChange.Kind.PUT: told("put the model of round %(number)s in charge", number=shown),
        ModelChange.Kind.RELEASED: told(
            "released the model of round %(number)s: later ones may take charge again", number=shown
        ),
    }
    audit.record(project=project, by=by, kind=AuditKind.ROUNDS, words=words[ModelChange.Kind(kind)], round=number)


def _locked(project_id: int) -> Project:
    """As publishing locks it: a round that is just being published is either judged before or after."""
    locked = Project.objects.select_for_update(of=("self",), no_key=True)
    return locked.select_related("learning", "queue_round", "model_round").get(pk=project_id)
