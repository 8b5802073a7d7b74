"""One's own keys to the API: made, seen, revoked."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.forms.tokens import TokenForm
from labeler.models import User
from labeler.selectors.tokens import own_tokens
from labeler.services.tokens import make_token, revoke_token


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """The list; a POST makes one, and shows it this one time."""
    user = _person(request)
    form = TokenForm(request.POST or None)
    token = ""
    if request.method == "POST" and form.is_valid():
        try:
            token = make_token(user=user, **form.cleaned_data).token
            form = TokenForm()
        except ValidationError as error:
            form.add_error(None, error)
    context = {"form": form, "token": token, "rows": own_tokens(user), "page": "tokens"}
    return render(request, "accounts/tokens.html", context)


@login_required
@require_POST
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(_person(request).api_tokens, pk=pk)
    if revoke_token(token=token):
        messages.success(request, _("“%(name)s” is revoked: it opens nothing any more.") % {"name": token.name})
    else:
        messages.info(request, _("“%(name)s” was revoked before.") % {"name": token.name})
    return redirect("tokens")


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise Http404  # views are behind login_required; this is the second lock
    return request.user


urlpatterns = [
    path("tokens/", tokens, name="tokens"),
    path("tokens/<int:pk>/revoke/", token_revoke, name="token-revoke"),
]
