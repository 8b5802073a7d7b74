"""Labels out. Managers only."""

from __future__ import annotations

import json

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from labeler import storage
from labeler.access import Access, manager_access
from labeler.export_formats import FORMATS, Filters
from labeler.forms.exports import ExportForm
from labeler.models import ExportJob, JobState
from labeler.ranges import file_reply
from labeler.selectors.exports import export_lines, is_any_unfinished, preview_of
from labeler.selectors.workers import missing_workers
from labeler.services.exporting import ExportRefused, cancel_export, create_export, delete_export


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def exports(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    if request.method == "POST":
        return _create(request, access)
    part = request.headers.get("HX-Target", "")
    lines = export_lines(access.project)
    is_unfinished = is_any_unfinished([line.job for line in lines])
    context = {
        "access": access,
        "tab": "exports",
        "lines": lines,
        "is_unfinished": is_unfinished,
        "missing_workers": missing_workers(["default"]) if is_unfinished else [],
    }
    if request.headers.get("HX-Request") and part != "preview":
        return render(request, "exports/_jobs.html", context)
    form = ExportForm(request.GET if "format" in request.GET else None, project=access.project)
    filters = form.filters() if form.is_bound and form.is_valid() else Filters()
    context |= {"form": form, "formats": FORMATS.values(), "preview": preview_of(access.project, filters)}
    return render(request, "exports/_preview.html" if part == "preview" else "exports/exports.html", context)


def _create(request: HttpRequest, access: Access) -> HttpResponse:
    form = ExportForm(request.POST, project=access.project)
    if not form.is_valid():
        words = [f"{name}: {' '.join(map(str, errors))}" for name, errors in form.errors.items()]
        refusal = " ".join([_("Choose one of the offered formats and filters."), *words])
        return HttpResponse(refusal, status=400, content_type="text/plain")
    try:
        create_export(
            project=access.project, by=access.user, file_format=form.cleaned_data["format"], filters=form.filters()
        )
    except ExportRefused as error:
        messages.error(request, str(error))
    return redirect("exports", access.project.slug)


@require_POST
@login_required
def export_cancel(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    cancel_export(job=_job(access, job_id), by=access.user)
    return redirect("exports", slug)


@require_POST
@login_required
def export_delete(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    job = _job(access, job_id)
    if delete_export(job=job, by=access.user):
        messages.success(request, _("%(name)s was deleted.") % {"name": job.file_name})
    else:
        messages.error(request, _("It is still being written. Cancel it first, then delete it."))
    return redirect("exports", slug)


@require_safe
@login_required
def export_file(request: HttpRequest, slug: str, job_id: int) -> HttpResponseBase:
    return export_reply(request, _done(manager_access(request, slug), job_id))


def export_reply(request: HttpRequest, job: ExportJob) -> HttpResponseBase:
    """Its file. Raises Http404 if that is gone."""
    try:
        return file_reply(
            request,
            storage.reading(job.file),
            size=job.size,
            name=job.file_name,
            media_type=job.media_type,
            digest=job.manifest.get("sha256", ""),
        )
    except FileNotFoundError as error:
        raise Http404("The export's file is gone; export again") from error


@require_safe
@login_required
def export_manifest(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    """What the file is: rows, digest, filters, classes, and how right the model's own labels in it are."""
    job = _done(manager_access(request, slug), job_id)
    reply = HttpResponse(json.dumps(job.manifest, indent=1, ensure_ascii=False), content_type="application/json")
    name = f"{job.file_name.rpartition('.')[0]}.manifest.json"
    reply.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    return reply


def _job(access: Access, job_id: int) -> ExportJob:
    job = ExportJob.objects.select_related("project").filter(project=access.project, pk=job_id).first()
    if job is None:
        raise Http404("No such export")
    return job


def _done(access: Access, job_id: int) -> ExportJob:
    job = _job(access, job_id)
    if job.state != JobState.DONE:
        raise Http404("No such export")
    return job


urlpatterns = [
    path("p/<slug:slug>/exports/", exports, name="exports"),
    path("p/<slug:slug>/exports/<int:job_id>/file/", export_file, name="export-file"),
    path("p/<slug:slug>/exports/<int:job_id>/manifest/", export_manifest, name="export-manifest"),
    path("p/<slug:slug>/exports/<int:job_id>/cancel/", export_cancel, name="export-cancel"),
    path("p/<slug:slug>/exports/<int:job_id>/delete/", export_delete, name="export-delete"),
]
