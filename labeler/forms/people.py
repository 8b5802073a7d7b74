from __future__ import annotations

from django import forms

from labeler.forms.base import PlainForm
from labeler.models import Role


class InvitationForm(PlainForm):
    role = forms.ChoiceField(
        label="Role",
        choices=[(Role.ANNOTATOR, "annotator: labels images"), (Role.MANAGER, "manager: everything, settings too")],
        initial=Role.ANNOTATOR,
    )
    note = forms.CharField(label="Note", required=False, max_length=100, help_text="For your own list: who is it for?")
