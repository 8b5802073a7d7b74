"""The projects of a person, and making a new one."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from labeler.access import manager_access
from labeler.forms.projects import CopyForm, ProjectForm
from labeler.models import User
from labeler.selectors.projects import STEPS, can_create_projects, first_steps, home_rows, managed_projects
from labeler.services.project_copies import copy_project
from labeler.services.projects import create_project, dismiss_steps, skip_step


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    context = {"rows": home_rows(request.user), "can_create": can_create_projects(request.user)}
    return render(request, "home/home.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def project_new(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    if not can_create_projects(request.user):
        raise PermissionDenied(
            _("Only staff and managers of a project make new ones. Ask the person who runs this site.")
        )
    form = ProjectForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = create_project(
            name=form.cleaned_data["name"],
            guidelines=form.cleaned_data["guidelines"],
            class_names=form.cleaned_data["classes"],
            by=request.user,
        )
        return redirect("project-start", project.slug)
    context = {"form": form, "sources": managed_projects(request.user)}
    return render(request, "projects/project_new.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def project_copy(request: HttpRequest, slug: str) -> HttpResponse:
    """A new project with the settings of this one."""
    access = manager_access(request, slug)
    form = CopyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = copy_project(source=access.project, by=access.user, **form.cleaned_data)
        return redirect("project-start", project.slug)
    return render(request, "projects/project_copy.html", {"access": access, "tab": "settings", "form": form})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def project_start(request: HttpRequest, slug: str) -> HttpResponse:
    """The first steps of a new project, each of which can wait; a form puts one off, takes it up again, or ends it."""
    access = manager_access(request, slug)
    if request.method == "POST":
        if "dismiss" in request.POST:
            dismiss_steps(project=access.project)
            return redirect("monitor", slug)
        step = request.POST.get("step", "")
        if step not in STEPS:
            return HttpResponse("There is no such step.", status=400, content_type="text/plain")
        skip_step(project=access.project, step=step, is_skipped=request.POST.get("skip") == "1")
        return redirect("project-start", slug)
    return render(request, "projects/project_start.html", {"access": access, "steps": first_steps(access.project)})


urlpatterns = [
    path("", home, name="home"),
    path("projects/new/", project_new, name="project-new"),
    path("p/<slug:slug>/copy/", project_copy, name="project-copy"),
    path("p/<slug:slug>/start/", project_start, name="project-start"),
]
