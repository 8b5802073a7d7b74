"""Labels out. Managers only."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils import timezone
from django.utils.text import slugify
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from labeler import storage
from labeler.access import manager_access
from labeler.models import ExportJob, JobState
from labeler.selectors.exports import is_any_unfinished, recent_exports
from labeler.selectors.workers import missing_workers
from labeler.services.exporting import ExportRefused, create_export

FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def exports(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    if request.method == "POST":
        file_format = request.POST.get("format", "")
        if file_format not in FORMATS:
            return HttpResponse("Choose CSV or JSON Lines.", status=400, content_type="text/plain")
        try:
            create_export(
                project=access.project,
                by=access.user,
                file_format=file_format,
                includes_unlabelled=request.POST.get("includes_unlabelled") == "on",
            )
        except ExportRefused as error:
            messages.error(request, str(error))
        return redirect("exports", slug)
    jobs = recent_exports(access.project)
    is_unfinished = is_any_unfinished(jobs)
    context = {
        "access": access,
        "tab": "exports",
        "jobs": jobs,
        "is_unfinished": is_unfinished,
        "missing_workers": missing_workers(["default"]) if is_unfinished else [],
    }
    return render(
        request, "exports/_jobs.html" if request.headers.get("HX-Request") else "exports/exports.html", context
    )


@require_safe
@login_required
def export_file(request: HttpRequest, slug: str, job_id: int) -> FileResponse:
    access = manager_access(request, slug)
    job = (
        ExportJob.objects.select_related("project")
        .filter(project=access.project, pk=job_id, state=JobState.DONE)
        .first()
    )
    if job is None:
        raise Http404("No such export")
    return export_reply(job)


def export_reply(job: ExportJob) -> FileResponse:
    """Its file. Raises Http404 if that is gone."""
    at = timezone.localtime(job.finished_at or job.created_at)  # one that waited for a worker holds later answers, too
    name = f"{slugify(job.project.slug)}-labels-{at:%Y-%m-%d-%H%M}.{job.format}"
    try:
        with storage.local_path(job.file) as file_path:
            return FileResponse(
                file_path.open("rb"), as_attachment=True, filename=name, content_type=FORMATS[job.format]
            )
    except FileNotFoundError as error:
        raise Http404("The export's file is gone; export again") from error


urlpatterns = [
    path("p/<slug:slug>/exports/", exports, name="exports"),
    path("p/<slug:slug>/exports/<int:job_id>/file/", export_file, name="export-file"),
]
