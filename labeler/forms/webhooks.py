from __future__ import annotations

from django import forms

from labeler.forms.base import PlainForm
from labeler.models import WebhookEvent
from labeler.services.webhooks import CHOICES


class WebhookForm(PlainForm):
    address = forms.CharField(
        max_length=500,
        label="Address",
        widget=forms.TextInput(attrs={"spellcheck": "false", "placeholder": "https://"}),
        help_text="It gets a POST with JSON. It has to be on the public internet, unless whoever runs this site allows "
        "its network (OUTBOUND_NETWORKS).",
    )
    events = forms.MultipleChoiceField(
        label="When",
        choices=[(event, WebhookEvent(event).label) for event in CHOICES],
        initial=CHOICES,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one event."},
    )
