from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from labeler.forms.base import PlainForm
from labeler.models import Role


class InvitationForm(PlainForm):
    role = forms.ChoiceField(
        label=_("Role"),
        choices=[
            (Role.ANNOTATOR, _("annotator: labels images")),
            (Role.MANAGER, _("manager: everything, settings too")),
        ],
        initial=Role.ANNOTATOR,
    )
    note = forms.CharField(
        label=_("Note"), required=False, max_length=100, help_text=_("For your own list: who is it for?")
    )
