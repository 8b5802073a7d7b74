from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from labeler.forms.base import NameField, PlainForm
from labeler.models import Scope
from labeler.services.tokens import MOST_DAYS


class TokenForm(PlainForm):
    """A new token. `days` empty: it is good until it is revoked."""

    name = NameField(max_length=100, label=_("Name"), help_text=_("For your own list: what uses it?"))
    scopes = forms.MultipleChoiceField(
        label=_("It may"),
        choices=[
            (Scope.READ, _("read: see what you see")),
            (Scope.ANNOTATE, _("annotate: answer images and comment, as you")),
            (Scope.MANAGE, _("manage: change what you may change")),
        ],
        initial=[Scope.READ],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one thing that it may do.")},
    )
    days = forms.IntegerField(
        label=_("For how many days"),
        min_value=1,
        max_value=MOST_DAYS,
        required=False,
        initial=90,
        help_text=_("Empty: until you revoke it."),
    )
