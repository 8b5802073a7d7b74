"""The classes in a project's settings: the list, one class, and surgery with its preview."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from labeler.access import Access, manager_access
from labeler.forms.base import PlainForm
from labeler.forms.classes import AddClassesForm, ClassForm, MergeForm, SplitForm
from labeler.models import ClassChange, LabelClass
from labeler.selectors.class_changes import (
    Preview,
    archive_preview,
    changes_of,
    last_change,
    merge_preview,
    split_preview,
    undo_preview,
    unfinished_changes,
    words_of_left_labels,
)
from labeler.selectors.classes import (
    archived_rows,
    class_page,
    group_of,
    waiting_proposals,
)
from labeler.selectors.workers import missing_workers
from labeler.services import classes as service
from labeler.services.class_changes import (
    archive_class,
    merge_class,
    split_class,
    undo_change,
)
from labeler.services.class_checks import check_merge, check_split
from labeler.services.class_since import NOT_TAKEN_BACK, Since, why_not_undone
from labeler.told import said

PAGE = ["GET", "HEAD", "POST"]


@never_cache
@login_required
@require_http_methods(PAGE)
def classes(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    form = AddClassesForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            names = form.cleaned_data["names"]
            added = service.add_classes(project=access.project, names=names, by=access.user)
            messages.success(request, _added_words(access, names, len(added)))
            return redirect("classes", slug)
        except ValidationError as error:
            form.add_error("names", error)
    number = request.GET.get("page", "")
    page = class_page(
        access.project,
        find=request.GET.get("find", "")[:100],
        number=int(number) if number.isdecimal() and len(number) < 6 else 1,
    )
    change = last_change(access.project)
    return _page(
        request,
        access,
        "classes",
        form=form,
        last_change=change,
        stays=why_not_undone(change) if change else "",
        classes=page,
        find=request.GET.get("find", "")[:100],
        moved=request.GET.get("moved", ""),
        moved_to=request.GET.get("to", ""),
        archived=archived_rows(access.project),
        proposals=waiting_proposals(access.project),
        is_at_work=unfinished_changes(access.project),
    )


def _added_words(access: Access, names: list[str], added: int) -> str:
    """Names that are those of classes which are offered no more are not added, and not passed over in silence."""
    wanted = {name.casefold() for name in names}
    away = [row for row in access.project.classes.filter(is_archived=True) if row.name.casefold() in wanted]
    words = _("%(number)s added.") % {"number": added} if added else _("They were all there already.")
    if away:
        shown = ", ".join(f"“{row}” ({row.get_fate_display() or _('archived')})" for row in away[:5])
        shown = _("%(classes)s and others") % {"classes": shown} if len(away) > 5 else shown
        words += " " + _("Not offered: %(classes)s. See the end of this page.") % {"classes": shown}
    return words


@never_cache
@login_required
@require_http_methods(PAGE)
def class_edit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    label_class = _class(access, pk)
    form = ClassForm(request.POST or None, label_class=label_class)
    if request.method == "POST" and form.is_valid():
        try:
            service.change_class(label_class=label_class, by=access.user, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("classes", slug)
        except ValidationError as error:
            form.add_error(None, error)
    label_class = _class(access, pk)
    return _page(
        request,
        access,
        "class_edit",
        form=form,
        label_class=label_class,
        merged=len(group_of(label_class)) - 1,
        merge_form=MergeForm(label_class=label_class),
        split_form=SplitForm(),
    )


@login_required
@require_POST
def class_move(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One step up or down, or to a place. The list shows where it is now, with the focus on the same button."""
    access = manager_access(request, slug)
    label_class, to = _class(access, pk), request.POST.get("to", "")
    place = request.POST.get("place", "")
    if to in ("up", "down"):
        service.move_class(label_class=label_class, steps=-1 if to == "up" else 1, by=access.user)
    elif place.isascii() and place.isdecimal() and 0 < len(place) < 6:
        service.move_class(label_class=label_class, to=max(0, int(place) - 1), by=access.user)
    else:
        messages.error(request, _("A place is a number, from 1 on."))
    query = {"moved": pk, "to": to if to in ("up", "down") else "place"}
    rest = {name: value for name in ("find", "page") if (value := request.POST.get(name, ""))}
    return redirect(
        reverse("classes", args=[slug], query={**rest, **query})
    )  # no fragment: it would win over autofocus


@login_required
@require_POST
def class_keys(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    service.renew_keys(project=access.project, by=access.user)
    messages.success(request, _("Keys follow the order of the list now."))
    return redirect("classes", slug)


@login_required
@require_POST
def class_restore(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    label_class = _class(access, pk)
    if service.restore_class(label_class=label_class, by=access.user):
        messages.success(request, _("“%(name)s” is offered again, at the end of the list.") % {"name": label_class})
    elif label_class.fate:
        words = _("“%(name)s” was %(fate)s: take that back under Changes.") % {
            "name": label_class,
            "fate": label_class.get_fate_display(),
        }
        messages.error(request, words)
    return redirect("classes", slug)


@login_required
@require_POST
def class_proposing(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    is_allowed = request.POST.get("takes_proposals") == "on"
    service.allow_proposals(project=access.project, is_allowed=is_allowed, by=access.user)
    messages.success(
        request,
        _("Annotators may propose classes: the Label page has a button for it.")
        if is_allowed
        else _("Annotators cannot propose classes any more."),
    )
    return redirect("classes", slug)


# --- Surgery: a preview, and the same address again to do it --------------------------------------------------------


@never_cache
@login_required
@require_http_methods(PAGE)
def class_merge(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    source = _class(access, pk)
    form = MergeForm(request.POST if request.method == "POST" else request.GET or None, label_class=source)
    if not form.is_valid():
        return _operation(request, access, source, form=form)
    into = form.cleaned_data["into"]
    return _operation(
        request,
        access,
        source,
        form=form,
        title=_("Merge “%(name)s” into “%(target)s”") % {"name": source, "target": into},
        sent={"into": [str(into.pk)]},
        check=lambda: check_merge(label_class=source, into=into),
        preview=lambda: merge_preview(source, into),
        act=lambda: merge_class(label_class=source, into=into, by=access.user),
        button=_("Merge"),
    )


@never_cache
@login_required
@require_http_methods(PAGE)
def class_split(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    source = _class(access, pk)
    form = SplitForm(request.POST if request.method == "POST" else request.GET or None)
    if not form.is_valid():
        return _operation(request, access, source, form=form)
    names = form.cleaned_data["names"]
    return _operation(
        request,
        access,
        source,
        form=form,
        title=_("Split “%(name)s” into %(names)s")
        % {"name": source, "names": ", ".join(_("“%(name)s”") % {"name": name} for name in names)},
        sent={"names": ["\n".join(names)]},
        check=lambda: check_split(label_class=source, names=names),
        preview=lambda: split_preview(source, access.project.learning.overlap),
        act=lambda: split_class(label_class=source, names=names, by=access.user),
        button=_("Split"),
    )


@never_cache
@login_required
@require_http_methods(PAGE)
def class_archive(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    source = _class(access, pk)
    return _operation(
        request,
        access,
        source,
        title=_("Archive “%(name)s”") % {"name": source},
        preview=lambda: archive_preview(source),
        act=lambda: archive_class(label_class=source, by=access.user),
        button=_("Archive"),
    )


@never_cache
@login_required
@require_http_methods(PAGE)
def class_change_undo(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    change = get_object_or_404(access.project.class_changes.select_related("undone_by"), pk=pk)
    words = _("It was taken back already.") if change.is_undone else why_not_undone(change)
    if words and request.method != "POST":
        messages.error(request, words)
        return redirect("class-changes", slug)

    def act() -> ClassChange:
        done = undo_change(change=change, by=access.user)
        if left := words_of_left_labels(change):
            messages.info(request, left)
        return done

    return _operation(
        request,
        access,
        _class(access, change.did["class"]),
        title=_("Take back: %(change)s") % {"change": said(change.words)},
        preview=lambda: undo_preview(change),
        act=act,
        button=_("Take it back"),
    )


def _operation(
    request: HttpRequest,
    access: Access,
    source: LabelClass,
    *,
    form: PlainForm | None = None,
    title: str = "",
    sent: dict[str, list[str]] | None = None,
    check: Callable[[], None] | None = None,
    preview: Callable[[], Preview] | None = None,
    act: Callable[[], ClassChange | None] | None = None,
    button: str = "",
) -> HttpResponse:
    """What would change, in numbers; a POST does it. What is not complete yet is asked for by `form`, and so is what
    `check` refuses: it raises ValidationError."""
    error = ""
    if request.method == "POST" and act is not None:
        try:
            done = act()
        except ValidationError as refused:
            error = refused.messages[0]
        else:
            is_final = done is None or ClassChange.Kind(done.kind) in NOT_TAKEN_BACK
            words = _("Done. It stands under Changes, where it can be taken back.")
            messages.success(request, _("Done. It stands under Changes.") if is_final else words)
            if request.POST.get("back") == "classes":
                return redirect("classes", access.project.slug)
            return redirect("class-changes", access.project.slug)
    elif check is not None:
        error = _refusal(check)
    context = {
        "label_class": source, "form": form, "title": title or _("Change “%(name)s”") % {"name": source},
        "sent": sent or {}, "error": error, "button": button,
        "preview": preview() if preview is not None and not error else None,
    }  # fmt: skip
    return _page(request, access, "class_operation", **context)


def _refusal(check: Callable[[], None]) -> str:
    try:
        check()
    except ValidationError as refused:
        return str(refused.messages[0])
    return ""


@never_cache
@login_required
@require_safe
def class_changes(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    changes = changes_of(access.project)
    since = Since(access.project, changes)
    is_at_work = any(change.state in ("queued", "running") for change in changes)
    return _page(
        request,
        access,
        "class_changes",
        changes=[(change, _may_be_undone(change, since)) for change in changes],
        is_at_work=is_at_work,
        missing_workers=missing_workers(["default"]) if is_at_work else [],
    )


def _may_be_undone(change: ClassChange, since: Since) -> bool:
    return not change.is_undone and change.may_be_undone and not since.why_it_stays(change)


def _class(access: Access, pk: int) -> LabelClass:
    return get_object_or_404(access.project.classes.select_related("merged_into", "project"), pk=pk)


def _page(request: HttpRequest, access: Access, page: str, **context: object) -> HttpResponse:
    return render(request, f"settings/{page}.html", {"access": access, "tab": "settings", "page": page, **context})


urlpatterns = [
    path("p/<slug:slug>/settings/classes/", classes, name="classes"),
    path("p/<slug:slug>/settings/classes/keys/", class_keys, name="class-keys"),
    path("p/<slug:slug>/settings/classes/proposing/", class_proposing, name="class-proposing"),
    path("p/<slug:slug>/settings/classes/changes/", class_changes, name="class-changes"),
    path("p/<slug:slug>/settings/classes/changes/<int:pk>/undo/", class_change_undo, name="class-change-undo"),
    path("p/<slug:slug>/settings/classes/<int:pk>/", class_edit, name="class-edit"),
    path("p/<slug:slug>/settings/classes/<int:pk>/merge/", class_merge, name="class-merge"),
    path("p/<slug:slug>/settings/classes/<int:pk>/split/", class_split, name="class-split"),
    path("p/<slug:slug>/settings/classes/<int:pk>/archive/", class_archive, name="class-archive"),
    path("p/<slug:slug>/settings/classes/<int:pk>/restore/", class_restore, name="class-restore"),
    path("p/<slug:slug>/settings/classes/<int:pk>/move/", class_move, name="class-move"),
]
