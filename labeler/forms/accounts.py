from __future__ import annotations

from django.contrib.auth.forms import UserCreationForm
from django.utils.translation import gettext_lazy as _

from labeler.models import User


class AccountForm(UserCreationForm):  # type: ignore[type-arg]
    """A new account, made by somebody who holds an invitation."""

    class Meta:
        model = User
        fields = ("username",)
        help_texts = {"username": _("How the others see you. Letters, digits and @ . + - _ only.")}
