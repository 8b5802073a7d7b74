from __future__ import annotations

from django import forms

from labeler.forms.base import NameField, PlainForm
from labeler.models import Scope
from labeler.services.tokens import MOST_DAYS


class TokenForm(PlainForm):
    """A new token. `days` empty: it is good until it is revoked."""

    name = NameField(max_length=100, label="Name", help_text="For your own list: what uses it?")
    scopes = forms.MultipleChoiceField(
        label="It may",
        choices=[
            (Scope.READ, "read: see what you see"),
            (Scope.ANNOTATE, "annotate: answer images and comment, as you"),
            (Scope.MANAGE, "manage: change what you may change"),
        ],
        initial=[Scope.READ],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one thing that it may do."},
    )
    days = forms.IntegerField(
        label="For how many days",
        min_value=1,
        max_value=MOST_DAYS,
        required=False,
        initial=90,
        help_text="Empty: until you revoke it.",
    )
