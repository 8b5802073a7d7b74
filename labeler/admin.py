"""Django's admin, for operators. What workers and services own is shown and not edited here."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import Model
from django.http import HttpRequest

from labeler import models

admin.site.site_header = "PlusMinus"
admin.site.register(models.User, UserAdmin)


class Shown(admin.ModelAdmin):  # type: ignore[type-arg]
    """Read only: these rows change by services and workers alone."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    model = models.Membership
    raw_id_fields = ("user",)
    extra = 0


@admin.register(models.Project)
class ProjectAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "slug", "created_by", "created_at")
    search_fields = ("name", "slug")
    raw_id_fields = ("created_by",)
    readonly_fields = ("queue_round", "pixel_side", "pixel_channels")
    inlines = (MembershipInline,)


@admin.register(models.Invitation)
class InvitationAdmin(Shown):
    list_display = ("project", "role", "note", "created_by", "expires_at", "used_by", "revoked_at")
    exclude = ("token_hash",)


@admin.register(models.LabelClass)
class LabelClassAdmin(Shown):
    list_display = ("name", "project", "shortcut", "is_archived")
    search_fields = ("name", "project__slug")


@admin.register(models.Image)
class ImageAdmin(Shown):
    list_display = ("id", "project_id", "position", "name", "state", "is_holdout")
    search_fields = ("=content_hash",)
    ordering = ("-id",)


@admin.register(models.Annotation)
class AnnotationAdmin(Shown):
    list_display = ("id", "project_id", "image_id", "annotator", "outcome", "label_class", "created_at", "retracted_at")
    list_select_related = ("annotator", "label_class")
    search_fields = ("=key", "annotator__username")
    ordering = ("-id",)


@admin.register(models.Round)
class RoundAdmin(Shown):
    list_display = ("project", "number", "state", "trigger", "reason", "attempts", "heartbeat_at", "finished_at")
    list_filter = ("state", "trigger")
    list_select_related = ("project",)
    ordering = ("-id",)


@admin.register(models.Candidate)
class CandidateAdmin(Shown):
    list_display = ("id", "round_id", "rank", "slot", "image_id", "reason", "state", "leased_to", "leased_until")
    list_select_related = ("leased_to",)
    list_filter = ("state", "reason")
    ordering = ("-id",)


@admin.register(models.ImportJob, models.ExportJob)
class JobAdmin(Shown):
    list_display = ("id", "project", "state", "created_by", "done", "total", "attempts", "heartbeat_at", "finished_at")
    list_filter = ("state",)
    list_select_related = ("project", "created_by")


@admin.register(models.Worker)
class WorkerAdmin(Shown):
    list_display = ("name", "queues", "doing", "started_at", "seen_at")
