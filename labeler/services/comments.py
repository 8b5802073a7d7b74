"""Comments on an image from who labels to who manages, the reply, and examples for the guide.

How many comments are open and how many examples there are stands in the project's row, which every page reads anyway;
who changes either locks that row.
"""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from labeler import clock
from labeler.models import AuditKind, ClassExample, Comment, Image, Project, User
from labeler.numerals import numeral
from labeler.services import audit
from labeler.services.races import again_if_raced
from labeler.told import told

LONGEST = 1000
MOST_OPEN = 500  # of one person in a project
MOST_EXAMPLES = 12  # of a class


class ExampleRefused(Exception):
    """Why, in words for people."""


def comment_image(*, project: Project, by: User, image_id: int, text: str, key: UUID) -> Comment:
    """Tell the managers something about an image. The same key again returns the row of the first time.

    Raises:
        ValidationError: naming the field, for no text, a text that is too long, or an image of another project.
    """
    words = _clean(text, "text")

    def work() -> Comment:
        if (sent_before := Comment.objects.filter(by=by, key=key).first()) is not None:
            return sent_before
        image = Image.objects.filter(project=project, pk=image_id).first()
        if image is None:
            raise ValidationError({"image": _("There is no such image in this project.")})
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)
        if Comment.objects.filter(project=project, by=by, closed_at__isnull=True).count() >= MOST_OPEN:
            raise ValidationError(
                {"text": _("%(most)s of your comments wait for a manager: ask one to read them.") % {"most": MOST_OPEN}}
            )
        comment = Comment.objects.create(project=project, image=image, by=by, text=words, key=key)
        _count_open(project)
        said = told("commented on the image %(name)s: %(words)s", name=image.name, words=words)
        audit.record(project=project, by=by, kind=AuditKind.COMMENTS, words=said, image=image.pk, comment=comment.pk)
        return comment

    return again_if_raced(work)


@transaction.atomic
def close_comment(*, project: Project, by: User, comment_id: int, reply: str = "") -> bool:
    """Answer a comment, or close it without a word. False: somebody else has closed it. Raises ValidationError."""
    words = _clean(reply, "reply") if reply.strip() else ""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    found = Comment.objects.filter(project=project, pk=comment_id, closed_at__isnull=True)
    now = clock.now()
    # Closed without a word there is nothing to read.
    if not found.update(reply=words, closed_by=by, closed_at=now, read_at=None if words else now):
        return False
    _count_open(project)
    comment = Comment.objects.select_related("image", "by").get(pk=comment_id)
    person, name = comment.by.get_username(), comment.image.name
    said = told("closed the comment of %(person)s on the image %(name)s", person=person, name=name)
    if words:
        said = told("replied to %(person)s on the image %(name)s: %(words)s", person=person, name=name, words=words)
    audit.record(
        project=project, by=by, kind=AuditKind.COMMENTS, words=said, image=comment.image_id, comment=comment_id
    )
    return True


def note_reply_read(*, project: Project, person: User, comment_id: int) -> None:
    own = Comment.objects.filter(project=project, by=person, pk=comment_id, closed_at__isnull=False)
    own.filter(read_at__isnull=True).update(read_at=clock.now())


@transaction.atomic
def show_example(*, project: Project, image_id: int, by: User) -> ClassExample:
    """Have the guide show an image as an example of the class that it is labelled with.

    While it is one nobody is checked with it, should it be gold. Raises ExampleRefused for an image without a label, or
    a class that has enough.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    image = Image.objects.select_related("label").filter(project=project, pk=image_id).first()
    if image is None:
        raise ExampleRefused(_("There is no such image in this project."))
    if image.label is None:
        raise ExampleRefused(_("The image has no label yet: nobody can say what it is an example of."))
    others = ClassExample.objects.filter(label_class=image.label).exclude(image=image)
    if others.count() >= MOST_EXAMPLES:
        raise ExampleRefused(
            _("“%(name)s” has %(most)s examples, as many as people look at. Take one out.")
            % {"name": image.label, "most": MOST_EXAMPLES}
        )
    example, _is_new = ClassExample.objects.update_or_create(
        image=image, defaults={"label_class": image.label, "created_by": by}
    )
    _count_examples(project)
    words = told("shows the image %(name)s in the guide as “%(label)s”", name=image.name, label=image.label)
    audit.record(project=project, by=by, kind=AuditKind.COMMENTS, words=words, image=image.pk)
    return example


@transaction.atomic
def hide_example(*, project: Project, image_id: int, by: User) -> bool:
    """False: it was none."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    rows = ClassExample.objects.filter(image=image_id, image__project=project).select_related("image")
    example = rows.first()
    if example is None:
        return False
    example.delete()
    _count_examples(project)
    words = told("took the image %(name)s out of the guide", name=example.image.name)
    audit.record(project=project, by=by, kind=AuditKind.COMMENTS, words=words, image=image_id)
    return True


def _clean(text: str, field: str) -> str:
    words = text.replace("\0", "").strip()
    if not words:
        raise ValidationError({field: _("Say something: the text is empty.")})
    if len(words) > LONGEST:
        raise ValidationError(
            {
                field: _("At most %(most)s characters; this has %(length)s.")
                % {"most": numeral(LONGEST), "length": numeral(len(words))}
            }
        )
    return words


def _count_open(project: Project) -> None:
    number = Comment.objects.filter(project=project, closed_at__isnull=True).count()
    Project.objects.filter(pk=project.pk).update(open_comments=number)


def _count_examples(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(
        examples=ClassExample.objects.filter(label_class__project=project).count()
    )
