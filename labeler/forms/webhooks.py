from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from labeler.forms.base import PlainForm
from labeler.models import WebhookEvent
from labeler.services.webhooks import CHOICES


class WebhookForm(PlainForm):
    address = forms.CharField(
        max_length=500,
        label=_("Address"),
        widget=forms.TextInput(attrs={"spellcheck": "false", "placeholder": "https://"}),
        help_text=_(
            "It gets a POST with JSON. It has to be on the public internet, unless whoever runs this site allows "
            "its network (OUTBOUND_NETWORKS)."
        ),
    )
    events = forms.MultipleChoiceField(
        label=_("When"),
        choices=[(event, WebhookEvent(event).label) for event in CHOICES],
        initial=CHOICES,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one event.")},
    )
