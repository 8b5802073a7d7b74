"""Is it worth it? What answers cost, where they lead, and how right the model's own labels would be. Managers only."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from labeler.access import manager_access
from labeler.forms.notices import TargetForm
from labeler.selectors.charge import charge_of
from labeler.selectors.curve import learning_curve
from labeler.selectors.forecast import advice_of, curve_ahead
from labeler.selectors.left_out import left_out_now, left_out_of
from labeler.selectors.pool import pool_counts, says_something
from labeler.selectors.weak_classes import weak_classes
from labeler.selectors.worth import auto_labels, costs_of, saved_by_order
from labeler.services.projects import set_target


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def worth(request: HttpRequest, slug: str) -> HttpResponse:
    """The page, and its form: the target."""
    access = manager_access(request, slug)
    project = access.project
    shown = None if project.target_accuracy is None else f"{100 * project.target_accuracy:.4g}"
    form = TargetForm(request.POST if request.method == "POST" else None, initial={"target": shown})
    if request.method == "POST" and form.is_valid():
        set_target(project=project, target=form.share, by=access.user)
        messages.success(request, _("Saved.") if form.share else _("Saved: no target."))
        return redirect("worth", slug)
    curve, model, counts = learning_curve(project), charge_of(project).model, pool_counts(project)
    context = {
        "access": access,
        "tab": "monitor",
        "page": "worth",
        "form": form,
        "curve": curve_ahead(project, curve, counts),
        "advice": advice_of(project, curve.points, counts),
        "costs": costs_of(project),
        "saved": saved_by_order(project),
        "weak": weak_classes(project, model),
        "auto": auto_labels(project),
        "counts": counts,
        "left_out": left_out_now(project, counts),
        "left_out_then": left_out_of(model.metrics if model is not None and says_something(model.metrics) else None),
    }
    return render(request, "monitor/worth.html", context)


urlpatterns = [path("p/<slug:slug>/worth/", worth, name="worth")]
