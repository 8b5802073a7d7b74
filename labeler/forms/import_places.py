from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from labeler.buckets import Bucket
from labeler.forms.base import PlainForm


class BucketForm(PlainForm):
    endpoint = forms.CharField(
        label=_("Endpoint"),
        required=False,
        max_length=300,
        help_text=_("https://s3.eu-central-1.amazonaws.com, or another server. Empty: the operator’s, with their key."),
    )
    name = forms.CharField(label=_("Bucket"), max_length=63)
    key_prefix = forms.CharField(
        label=_("Prefix"), required=False, max_length=500, help_text=_("Only keys that begin so: photos/2026/")
    )
    region = forms.CharField(label=_("Region"), required=False, max_length=40, initial="us-east-1")
    key_id = forms.CharField(
        label=_("Key id"), required=False, max_length=200, help_text=_("Empty for a public bucket.")
    )
    secret = forms.CharField(
        label=_("Secret key"),
        required=False,
        max_length=300,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=_("Kept sealed until the import is over, then deleted. No page and no log shows it."),
    )

    @property
    def bucket(self) -> Bucket:
        values = dict(self.cleaned_data)
        values["prefix"] = values.pop("key_prefix")
        values["region"] = values["region"] or "us-east-1"
        return Bucket(**values)
