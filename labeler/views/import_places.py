"""Imports from folders of the server and from buckets. Managers only."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from labeler.access import Access, manager_access
from labeler.forms.import_places import BucketForm
from labeler.import_roots import FolderRefused, allowed_folder, roots, subfolders
from labeler.services.import_places import import_bucket, import_folder
from labeler.services.uploads import UploadRefused


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def import_from_folder(request: HttpRequest, slug: str) -> HttpResponse:
    """Folders below IMPORT_ROOTS, one level at a time (`?at=`); a POST imports one."""
    access = manager_access(request, slug)
    if request.method == "POST":
        at = request.POST.get("path", "").strip()
        try:
            job = import_folder(project=access.project, by=access.user, path=at, looks_first=True)
        except UploadRefused as error:
            return _folders(request, access, error=str(error), typed=at, status=400)
        return redirect("import", access.project.slug, job.pk)
    return _folders(request, access, typed=request.GET.get("at", ""))


def _folders(request: HttpRequest, access: Access, *, typed: str, error: str = "", status: int = 200) -> HttpResponse:
    known = roots()
    context: dict[str, object] = {"access": access, "tab": "imports", "roots": known, "error": error, "typed": typed}
    if typed and known and not error:
        try:
            at = allowed_folder(typed)
            up = at.parent if at not in known else None
            context |= {"at": at, "up": up, "folders": subfolders(at)}
        except FolderRefused as refusal:
            context["error"], status = str(refusal), 400
    return render(request, "imports/import_folder.html", context, status=status)


@sensitive_post_parameters("secret")
@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def import_from_bucket(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    form = BucketForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            job = import_bucket(project=access.project, by=access.user, bucket=form.bucket, looks_first=True)
        except UploadRefused as error:
            form.add_error(None, str(error))
        else:
            return redirect("import", access.project.slug, job.pk)
    status = 400 if request.method == "POST" else 200
    context = {"access": access, "tab": "imports", "form": form}
    return render(request, "imports/import_bucket.html", context, status=status)


urlpatterns = [
    path("p/<slug:slug>/imports/new/folder/", import_from_folder, name="import-folder"),
    path("p/<slug:slug>/imports/new/bucket/", import_from_bucket, name="import-bucket"),
]
