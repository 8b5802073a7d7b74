from __future__ import annotations

from copy import deepcopy
from typing import Any

from django import forms

from labeler.forms.learning import MODEL, LearningForm
from labeler.models import LearningConfig


class ComparisonForm(forms.Form):
    """The model's part of the learning settings, for a round that is only looked at. Its choices are those of there."""

    def __init__(self, *args: Any, learning: LearningConfig, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update({name: deepcopy(LearningForm.base_fields[name]) for name in MODEL})
        self.initial.update({name: getattr(learning, name) for name in MODEL})
