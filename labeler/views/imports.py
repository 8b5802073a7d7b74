"""Images in: upload in parts or as a plain form, progress, refused files, offered labels. Managers only."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from labeler.access import Access, manager_access
from labeler.body_limit import takes_body
from labeler.models import ImportJob, JobState, RejectedFile
from labeler.models.jobs import UNFINISHED_JOB
from labeler.numerals import numeral
from labeler.selectors.imports import (
    MOST_TABLES,
    Offer,
    import_progress,
    offer_of,
    preview_of,
    rejected_page,
    rejected_rows,
)
from labeler.services.exporting import spreadsheet_safe
from labeler.services.import_columns import look_again
from labeler.services.offered_answers import take_offered_answers
from labeler.services.offered_labels import make_offered_classes, take_offered_labels
from labeler.services.uploads import (
    PART_BYTES,
    UploadRefused,
    WrongOffset,
    add_part,
    add_whole_file,
    can_retry,
    cancel_import,
    create_import,
    finish_upload,
    retry_import,
)
from labeler.storage import StorageError, StorageFull
from labeler.tables.columns import Chosen
from labeler.told import said

LISTED = 100


@require_safe
@login_required
def imports(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    jobs = access.project.imports.select_related("created_by")[:LISTED]
    return render(request, "imports/imports.html", {"access": access, "tab": "imports", "jobs": jobs})


@takes_body("FORM_UPLOAD_MAX_BYTES")
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def import_new(request: HttpRequest, slug: str) -> HttpResponse:
    """The page; a plain form with files; or, from the page's script, an empty upload whose parts follow."""
    access = manager_access(request, slug)
    if request.method != "POST":
        return render(
            request, "imports/import_new.html", {"access": access, "tab": "imports", "part_bytes": PART_BYTES}
        )
    try:
        return _start(request, access)
    except (UploadRefused, StorageError) as error:
        if request.accepts("text/html"):
            context = {"access": access, "tab": "imports", "part_bytes": PART_BYTES, "error": said(str(error))}
            return render(request, "imports/import_new.html", context, status=_status(error))
        return JsonResponse({"error": said(str(error))}, status=_status(error))


def _start(request: HttpRequest, access: Access) -> HttpResponse:
    if not request.accepts("text/html"):
        job = create_import(project=access.project, by=access.user)
        names = {"part": "import-part", "finish": "import-finish", "cancel": "import-cancel", "page": "import"}
        urls = {key: reverse(name, args=[access.project.slug, job.pk]) for key, name in names.items()}
        return JsonResponse({"id": job.pk, **urls})
    files = [file for file in request.FILES.getlist("files") if file.name]
    if not files:
        raise UploadRefused(_("Choose at least one file."))
    job = create_import(project=access.project, by=access.user)
    try:
        for file in files:
            add_whole_file(job=job, name=file.name or "", size=file.size or 0, file=file)  # type: ignore[arg-type]
        finish_upload(job=job, looks_first=True)
    except (UploadRefused, StorageError):
        cancel_import(job=job)
        raise
    return redirect("import", access.project.slug, job.pk)


@takes_body("DATA_UPLOAD_MAX_MEMORY_SIZE")
@require_POST
@login_required
def import_part(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    """One part of a file: `?name=&size=&offset=`, the bytes as the body. 409 says where to go on."""
    job = _job(manager_access(request, slug), job_id)
    try:
        size, offset = _number(request, "size"), _number(request, "offset")
        received = add_part(job=job, name=request.GET.get("name", ""), size=size, offset=offset, data=request.body)
    except WrongOffset as error:
        return JsonResponse({"received": error.received, "error": said(str(error))}, status=409)
    except (UploadRefused, StorageError) as error:
        return JsonResponse({"error": said(str(error))}, status=_status(error))
    return JsonResponse({"received": received})


@require_POST
@login_required
def import_finish(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    job = _job(manager_access(request, slug), job_id)
    try:
        finish_upload(job=job, looks_first=True)
    except UploadRefused as error:
        if not request.accepts("text/html"):
            return JsonResponse({"error": said(str(error))}, status=400)
        messages.error(request, said(str(error)))
    if not request.accepts("text/html"):
        return JsonResponse({"page": reverse("import", args=[slug, job.pk])})
    return redirect("import", slug, job.pk)


@require_POST
@login_required
def import_start(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    """After the look: bring in what was found."""
    job = _job(manager_access(request, slug), job_id)
    if job.state == JobState.UPLOADING and job.found is None:
        messages.info(request, _("The upload is not complete yet."))
    else:
        finish_upload(job=job)
    return redirect("import", slug, job.pk)


@require_POST
@login_required
def import_columns(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    """`table-0`, `place-0`, `label-0` and so on: look again with these columns."""
    access = manager_access(request, slug)
    job = _job(access, job_id)
    said = request.POST
    columns = {
        said.get(f"table-{number}", ""): Chosen(said.get(f"place-{number}", ""), said.get(f"label-{number}", ""))
        for number in range(MOST_TABLES)
        if f"table-{number}" in said
    }
    try:
        if columns and not look_again(job=job, by=access.user, columns=columns):
            messages.info(request, _("Somebody has started or cancelled it meanwhile."))
    except ValidationError as error:
        for table, words in error.message_dict.items():
            messages.error(request, f"{table}: {words[0]}")
    return redirect("import", slug, job.pk)


@require_POST
@login_required
def import_cancel(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    job = _job(access, job_id)
    cancel_import(job=job, by=access.user)
    return redirect("import", slug, job.pk)


@require_POST
@login_required
def import_retry(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    job = _job(access, job_id)
    if not retry_import(job=job, by=access.user):
        words = _("There is nothing to try again: it is on its way, or its upload is no longer there.")
        messages.info(request, words)
    return redirect("import", slug, job.pk)


@never_cache
@require_safe
@login_required
def import_(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    job = _job(access, job_id)
    context: dict[str, object] = {
        "access": access,
        "tab": "imports",
        "job": job,
        "progress": import_progress(job),
        "can_retry": can_retry(job),
        "preview": preview_of(job),
    }
    if request.headers.get("HX-Request"):
        response = render(request, "imports/_progress.html", context)
        if job.state not in UNFINISHED_JOB or job.is_ready:
            response.headers["HX-Refresh"] = "true"  # what was left out and the labels stand beside the progress
        return response
    kind = request.GET.get("kind", "")
    after = request.GET.get("after", "0")
    rows, following = rejected_page(job, kind=kind, after=int(after) if _is_number(after) else 0)
    context |= {"rows": rows, "following": following, "kind": kind, "kinds": RejectedFile.Kind.choices}
    context["unnamed"] = job.unnamed.get(kind, 0) if kind else job.unnamed_count
    if job.has_offered_labels and job.state == JobState.DONE:
        context["offer"] = offer_of(access.project, access.user)
    return render(request, "imports/import.html", context)


@require_safe
@login_required
def import_rejected(request: HttpRequest, slug: str, job_id: int) -> StreamingHttpResponse:
    job = _job(manager_access(request, slug), job_id)
    response = StreamingHttpResponse(_csv_lines(job), content_type="text/csv; charset=utf-8")
    name = f"{slug}-import-{timezone.localtime(job.created_at):%Y-%m-%d-%H%M}-left-out.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


@require_POST
@login_required
def import_labels(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    """`do=classes`: make the offered names classes. `do=answers`: take the offered labels as the manager's answers.
    `do=people`: take what people answered in another tool as theirs."""
    access = manager_access(request, slug)
    job = _job(access, job_id)
    offer, do = offer_of(access.project, access.user), request.POST.get("do", "")
    if offer is None:
        messages.error(request, _("No labels came with the images of this project."))
    elif do not in TAKEN:
        return HttpResponse("Say what to do: classes, answers or people.", status=400, content_type="text/plain")
    else:
        try:
            messages.success(request, TAKEN[do](access, offer))
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
    return redirect("import", slug, job.pk)


def _make_classes(access: Access, offer: Offer) -> str:
    made = make_offered_classes(project=access.project, names=offer.new_names, by=access.user)
    words = ngettext(
        "%(number)s class was made. Its key and colour are in Settings.",
        "%(number)s classes were made. Their keys and colours are in Settings.",
        made,
    )
    return words % {"number": numeral(made)}


def _take_as_own(access: Access, _offer: Offer) -> str:
    taken = take_offered_labels(project=access.project, by=access.user)
    words = ngettext(
        "%(number)s label was taken as your answer.", "%(number)s labels were taken as your answers.", taken
    )
    return words % {"number": numeral(taken)}


def _take_as_theirs(access: Access, _offer: Offer) -> str:
    taken = take_offered_answers(project=access.project, by=access.user)
    words = ngettext(
        "%(number)s answer was taken as its own person’s.",
        "%(number)s answers were taken, each as its own person’s.",
        taken,
    )
    return words % {"number": numeral(taken)}


TAKEN: dict[str, Callable[[Access, Offer], str]] = {
    "classes": _make_classes,
    "answers": _take_as_own,
    "people": _take_as_theirs,
}


class _Line:
    def write(self, line: str) -> str:
        return line


def _csv_lines(job: ImportJob) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(["file", "what", "reason"])
    for row in rejected_rows(job):
        yield writer.writerow([spreadsheet_safe(value) for value in row])
    for kind, count in job.unnamed.items():
        yield writer.writerow(["", kind, f"{count:,} more, which are counted and not named."])


def _job(access: Access, job_id: int) -> ImportJob:
    job = ImportJob.objects.select_related("created_by", "project").filter(project=access.project, pk=job_id).first()
    if job is None:
        raise Http404("No such import")
    return job


def _number(request: HttpRequest, name: str) -> int:
    value = request.GET.get(name, "")
    if not _is_number(value):
        raise UploadRefused(_("“%(name)s” has to be a whole number.") % {"name": name})
    return int(value)


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) < 16


def _status(error: Exception) -> int:
    return 507 if isinstance(error, StorageFull) else 400


urlpatterns = [
    path("p/<slug:slug>/imports/", imports, name="imports"),
    path("p/<slug:slug>/imports/new/", import_new, name="import-new"),
    path("p/<slug:slug>/imports/<int:job_id>/", import_, name="import"),
    path("p/<slug:slug>/imports/<int:job_id>/part/", import_part, name="import-part"),
    path("p/<slug:slug>/imports/<int:job_id>/finish/", import_finish, name="import-finish"),
    path("p/<slug:slug>/imports/<int:job_id>/start/", import_start, name="import-start"),
    path("p/<slug:slug>/imports/<int:job_id>/columns/", import_columns, name="import-columns"),
    path("p/<slug:slug>/imports/<int:job_id>/cancel/", import_cancel, name="import-cancel"),
    path("p/<slug:slug>/imports/<int:job_id>/retry/", import_retry, name="import-retry"),
    path("p/<slug:slug>/imports/<int:job_id>/rejected/", import_rejected, name="import-rejected"),
    path("p/<slug:slug>/imports/<int:job_id>/labels/", import_labels, name="import-labels"),
]
