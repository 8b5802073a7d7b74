"""Images with something to review: disputes, and labels that the model doubts."""

from __future__ import annotations

import uuid

from labeler.models import Annotation, Image, ImageState, Outcome
from tests.labeler.queues import fresh
from tests.labeler.scored import scored_round


def contested_images(project, make_images, annotator, bob) -> list[Image]:
    """Six images of cats. Ann and Bob disagree about 1 and 3; the model takes 4 and 5 for dogs, 5 more surely."""
    cat, dog, _ = project.classes.all()
    rows = make_images(project, 6, state=ImageState.LABELLED, label=cat)
    for row in rows:
        for person in (annotator, bob):
            label = dog if person is bob and row.position in (1, 3) else cat
            Annotation.objects.create(
                project=project, image=row, annotator=person, outcome=Outcome.LABEL, label_class=label, key=uuid.uuid4()
            )
    Image.objects.filter(position__in=[1, 3]).update(state=ImageState.DISPUTED, label=None, is_contested=True)
    means = [[0.9, 0.05, 0.05]] * 4 + [[0.3, 0.6, 0.1], [0.02, 0.97, 0.01]]
    scored_round(fresh(project), means, [[0.01] * 3] * 6)
    return rows
