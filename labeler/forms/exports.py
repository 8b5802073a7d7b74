from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from labeler.export_formats import ALL, FORMATS, LABELLED, WITH_MODEL, Filters
from labeler.models import LabelClass, Project
from labeler.numerals import localised
from labeler.selectors.exports import names_for
from labeler.selectors.worth import THRESHOLDS

IMAGES = [
    (LABELLED, _("Images with a label")),
    (WITH_MODEL, _("Images with a label, and those that the model is sure of, marked as the model's")),
    (ALL, _("All images, with their state")),
]
HOLDOUT = [("", _("With the holdout")), ("without", _("Without the holdout")), ("only", _("The holdout only"))]

FIRST, LAST = date(1900, 1, 1), date(9990, 12, 31)


class ExportForm(forms.Form):
    """A format and which images. Whatever is left empty does not filter."""

    format = forms.ChoiceField(choices=[(each.key, each.name) for each in FORMATS.values()], initial="csv")
    images = forms.ChoiceField(choices=IMAGES, required=False)
    includes_unlabelled = forms.BooleanField(required=False, widget=forms.HiddenInput)
    model_above = forms.TypedChoiceField(
        label=_("Sure from probability"),
        coerce=float,
        empty_value=None,
        required=False,
        initial="0.99",
    )
    with_images = forms.BooleanField(required=False, label=_("With the images, in one zip"))
    label_class = forms.TypedChoiceField(label=_("Class"), coerce=int, empty_value=None, required=False)
    annotator = forms.TypedChoiceField(label=_("Answered by"), coerce=int, empty_value=None, required=False)
    since = forms.DateField(
        label=_("Labelled since"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        label=_("Labelled until"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    holdout = forms.ChoiceField(label=pgettext_lazy("a filter", "Holdout"), choices=HOLDOUT, required=False)
    least_agreement = forms.FloatField(
        label=_("Agreement from"),
        required=False,
        min_value=0,
        max_value=1,
        help_text=_("0 to 1. Images with one answer have no agreement and are left out then."),
        widget=forms.NumberInput(attrs={"step": "0.01"}),
    )

    def __init__(self, *args: Any, project: Project, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = names_for(project)[1]
        # In the language of the request; the values are what programs send.
        levels = [(f"{level:g}", localised(f"{level:g}")) for level in THRESHOLDS]
        self.fields["model_above"].choices = levels  # type: ignore[attr-defined]
        classes = LabelClass.objects.filter(project=project, merged_into=None).values_list("pk", "name")
        self.fields["label_class"].choices = [("", _("All classes")), *classes]  # type: ignore[attr-defined]
        by_name = sorted(people.items(), key=lambda person: person[1])
        self.fields["annotator"].choices = [("", _("Anybody")), *by_name]  # type: ignore[attr-defined]

    def filters(self) -> Filters:
        """Of a valid form."""
        said = self.cleaned_data
        images = said["images"] or (ALL if said["includes_unlabelled"] else LABELLED)
        return Filters(
            images=images,
            model_above=(said["model_above"] or 0.99) if images == WITH_MODEL else None,
            with_images=said["with_images"] and not FORMATS[said["format"]].has_images,
            label_class=said["label_class"],
            annotator=said["annotator"],
            since=_start_of(said["since"]),
            until=_start_of(said["until"], days=1),
            holdout=said["holdout"],
            least_agreement=said["least_agreement"],
        )


def _start_of(day: date | None, *, days: int = 0) -> datetime | None:
    """So many days later. Days that no clock of ours has shown are moved to those: beyond them nothing lies."""
    if day is None:
        return None
    return timezone.make_aware(datetime.combine(min(max(day, FIRST), LAST) + timedelta(days), time.min))
