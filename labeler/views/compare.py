"""Two rounds side by side, and rounds that are made to be compared. Managers only."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from labeler.access import Access, manager_access
from labeler.forms.comparison import ComparisonForm
from labeler.models import Round
from labeler.selectors.compare import compare, estimator_words, planned_words
from labeler.selectors.explore import gallery_pages
from labeler.selectors.monitor import progress_of
from labeler.selectors.scores import NoScores, scored_round, scored_rounds
from labeler.services.comparisons import start_comparison
from labeler.services.rounds import RoundRefused, config_of, newest_round
from labeler.told import told


@never_cache
@require_safe
@login_required
def compare_page(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    rounds = scored_rounds(access.project)
    if any(request.GET.get(side) and scored_round(access.project, request.GET[side]) is None for side in ("a", "b")):
        raise Http404("No such round with scores")
    one, other = _chosen(request, rounds)
    page = _number(request.GET.get("page", "")) or 1
    context = {
        **_base(access, rounds),
        "form": ComparisonForm(learning=access.project.learning),
        "one": one,
        "other": other,
        "number": page,
    }
    if one is not None and other is not None:
        try:
            found = compare(access.project, one, other, page)
            context |= {
                "comparison": found,
                "earlier": page - 1 if page > 1 else None,
                "later": page + 1 if page < found.pages else None,
            }
        except NoScores as error:
            context["problem"] = str(error)
    return render(request, "explore/compare.html", context)


@require_POST
@login_required
def compare_start(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    form = ComparisonForm(request.POST, learning=access.project.learning)
    if not form.is_valid():
        rounds = scored_rounds(access.project)
        context = {**_base(access, rounds), "form": form, "one": None, "other": None}
        return render(request, "explore/compare.html", context, status=400)
    values = form.cleaned_data
    words = planned_words(access.project, {**config_of(access.project.learning), **values})
    reason = told("%(person)s compares %(what)s", person=access.user.get_username(), what=words)
    try:
        round_ = start_comparison(project=access.project, values=values, reason=reason, by=access.user)
    except RoundRefused as refused:
        messages.error(request, str(refused))
    else:
        if round_ is None:
            messages.info(request, _("A round is running already. Start the comparison when it is done."))
        else:
            said = _("Round %(number)s scores the pool. The queue stays as it is.")
            messages.success(request, said % {"number": round_.number})
    return redirect("compare", slug)


def _base(access: Access, rounds: list[Round]) -> dict[str, object]:
    newest = newest_round(access.project)
    return {
        "access": access,
        "tab": "explore",
        "page": "compare",
        "rounds": [(round_, estimator_words(round_.config)) for round_ in rounds],
        "galleries": gallery_pages(),
        "progress": progress_of(newest) if newest is not None and newest.is_unfinished else None,
    }


def _chosen(request: HttpRequest, rounds: list[Round]) -> tuple[Round | None, Round | None]:
    """Those asked for; in place of one that is not, the newest that ran with something else, or the newest."""
    by_number = {str(round_.number): round_ for round_ in rounds}
    one, other = by_number.get(request.GET.get("a", "")), by_number.get(request.GET.get("b", ""))
    other = other or next((row for row in rounds if row != one), None)
    rest = [row for row in rounds if row != other]
    if one is None and other is not None and rest:
        one = next((row for row in rest if estimator_words(row.config) != estimator_words(other.config)), rest[0])
    return one, other


def _number(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 6 else None


urlpatterns = [
    path("p/<slug:slug>/explore/compare/", compare_page, name="compare"),
    path("p/<slug:slug>/explore/compare/start/", compare_start, name="compare-start"),
]
