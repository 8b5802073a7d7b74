"""What a person who labels has not read yet: replies to their comments, and what became of classes they proposed."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import CharField, IntegerField, Value

from labeler.models import ClassProposal, Comment, Project, User
from labeler.told import said


@dataclass(frozen=True)
class News:
    kind: str  # reply or decision
    pk: int
    words: str
    text: str = ""  # what the reply is to
    image: int = 0
    image_name: str = ""

    @property
    def mark(self) -> str:
        return f"{self.kind}-{self.pk}"


def news_for(project: Project, person: User) -> list[News]:
    """One statement, by the partial indexes of what is unread: the open page asks for it with every few answers."""
    none, number = Value("", CharField()), Value(0, IntegerField())
    decisions = ClassProposal.objects.filter(label_class__project=project, by=person, read_at__isnull=True)
    replies = Comment.objects.filter(project=project, by=person, closed_at__isnull=False, read_at__isnull=True)
    rows = (
        decisions.exclude(decision="")
        .order_by()
        .values_list(Value("decision", CharField()), "pk", "decision", none, number, none)
        .union(
            replies.order_by().values_list(Value("reply", CharField()), "pk", "reply", "text", "image", "image__name"),
            all=True,
        )
    )
    found = [
        News(kind, pk, said(words), text, image, name.rsplit("/", 1)[-1]) for kind, pk, words, text, image, name in rows
    ]
    return sorted(found, key=lambda each: (each.kind, each.pk))
