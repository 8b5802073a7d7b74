"""Django's admin, for operators. What services and workers own is shown here and not edited.

Lists of what grows with the pool have no full count, no sorting by what has no index, and no filters that scan.
"""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.db.models import Model
from django.http import HttpRequest

from labeler import models

admin.site.site_header = "PlusMinus"
admin.site.site_title = "PlusMinus"
admin.site.register(models.User, UserAdmin)


class Shown(admin.ModelAdmin):  # type: ignore[type-arg]
    """Read only: these rows change by services and workers alone."""

    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False


class ShownWhole(Shown):
    """Of a table with a row an image or an answer: newest first, by the key, and sorted by nothing else."""

    ordering = ("-id",)
    sortable_by = ()


class MembershipInline(admin.TabularInline):  # type: ignore[type-arg]
    model = models.Membership
    raw_id_fields = ("user",)
    extra = 0


@admin.register(models.Project)
class ProjectAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Made in the app, where it gets its settings and its manager; here an operator puts a manager into one."""

    list_display = ("name", "slug", "created_by", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("name", "slug")
    raw_id_fields = ("created_by",)
    readonly_fields = (
        "created_at", "queue_round", "model_round", "model_kept_by", "model_kept_since", "pixel_side", "pixel_channels",
        "small_grey_images", "large_grey_images", "small_colour_images", "large_colour_images",
    )  # fmt: skip
    inlines = (MembershipInline,)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False


@admin.register(models.LearningConfig)
class LearningConfigAdmin(Shown):
    list_display = ("project", "architecture", "estimator", "acquisition", "budget", "overlap", "retrain_every")
    list_select_related = ("project",)
    search_fields = ("project__slug",)


@admin.register(models.Membership)
class MembershipAdmin(Shown):
    list_display = ("user", "project", "role", "created_at")
    list_select_related = ("user", "project")
    list_filter = ("role",)
    search_fields = ("user__username", "project__slug")


@admin.register(models.Invitation)
class InvitationAdmin(Shown):
    list_display = ("project", "role", "note", "created_by", "expires_at", "used_by", "used_at", "revoked_at")
    list_select_related = ("project", "created_by", "used_by")
    search_fields = ("project__slug", "note", "used_by__username")
    exclude = ("token_hash",)


@admin.register(models.LabelClass)
class LabelClassAdmin(Shown):
    list_display = ("name", "project", "shortcut", "colour", "order", "is_archived", "fate")
    list_select_related = ("project",)
    search_fields = ("name", "project__slug")


@admin.register(models.Image)
class ImageAdmin(ShownWhole):
    list_display = ("id", "project_id", "position", "name", "state", "label_id", "is_holdout")
    search_fields = ("=content_hash",)
    search_help_text = "The content hash (SHA-256), whole."


@admin.register(models.OfferedLabel)
class OfferedLabelAdmin(ShownWhole):
    list_display = ("id", "image_id", "class_name")


@admin.register(models.GoldImage)
class GoldImageAdmin(ShownWhole):
    list_display = ("id", "project", "image_id", "label_class", "created_by", "created_at")
    list_select_related = ("project", "label_class", "created_by")


@admin.register(models.AnswerQuality)
class AnswerQualityAdmin(ShownWhole):
    list_display = ("id", "project", "asked_at", "measured_at", "right")
    list_select_related = ("project",)


@admin.register(models.AnnotatorQuality)
class AnnotatorQualityAdmin(ShownWhole):
    list_display = ("id", "project", "annotator", "trust")
    list_select_related = ("project", "annotator")


@admin.register(models.Comment)
class CommentAdmin(ShownWhole):
    list_display = ("id", "project", "image_id", "by", "text", "created_at", "closed_at")
    list_select_related = ("project", "by")


@admin.register(models.ClassExample)
class ClassExampleAdmin(ShownWhole):
    list_display = ("id", "label_class", "image_id", "created_by", "created_at")
    list_select_related = ("label_class", "created_by")


@admin.register(models.GridPage)
class GridPageAdmin(ShownWhole):
    list_display = ("id", "project", "label_class", "by", "created_at", "undone_at")
    list_select_related = ("project", "label_class", "by")


@admin.register(models.GridCheck)
class GridCheckAdmin(ShownWhole):
    list_display = ("id", "project", "page_id", "image_id", "accepted_id")
    list_select_related = ("project",)


@admin.register(models.Notice)
class NoticeAdmin(ShownWhole):
    list_display = ("id", "project", "kind", "words", "created_at", "over_at")
    list_select_related = ("project",)


@admin.register(models.NoticeDismissal)
class NoticeDismissalAdmin(ShownWhole):
    list_display = ("id", "notice_id", "user", "at")
    list_select_related = ("user",)


@admin.register(models.NoticeMail)
class NoticeMailAdmin(ShownWhole):
    list_display = ("id", "notice_id", "user", "state", "attempts", "not_before", "sent_at")
    list_select_related = ("user",)


@admin.register(models.Chunk)
class ChunkAdmin(ShownWhole):
    list_display = ("id", "project", "number", "count", "pixels")
    list_select_related = ("project",)


@admin.register(models.ChunkFeatures)
class ChunkFeaturesAdmin(ShownWhole):
    list_display = ("id", "chunk_id", "backbone", "count", "file")


@admin.register(models.Pack)
class PackAdmin(ShownWhole):
    list_display = ("id", "project", "name", "size", "created_at")
    list_select_related = ("project",)


@admin.register(models.Annotation)
class AnnotationAdmin(ShownWhole):
    list_display = ("id", "project_id", "image_id", "annotator", "outcome", "label_class", "created_at", "retracted_at")
    list_select_related = ("annotator", "label_class")
    search_fields = ("=key", "=image__id")
    search_help_text = "The key of an answer, whole, or the number of an image."


@admin.register(models.Round)
class RoundAdmin(Shown):
    list_display = ("project", "number", "state", "trigger", "reason", "attempts", "heartbeat_at", "finished_at")
    list_filter = ("state", "trigger")
    list_select_related = ("project",)
    search_fields = ("project__slug", "error")
    ordering = ("-id",)


@admin.register(models.ModelChange)
class ModelChangeAdmin(ShownWhole):
    list_display = ("id", "project", "kind", "round_id", "former_id", "by", "created_at")
    list_select_related = ("project", "by")


@admin.register(models.RoundChunk)
class RoundChunkAdmin(ShownWhole):
    list_display = ("id", "round_id", "chunk_id", "claim", "heartbeat_at", "is_done")


@admin.register(models.Candidate)
class CandidateAdmin(ShownWhole):
    list_display = ("id", "round_id", "rank", "slot", "image_id", "reason", "state", "leased_to", "leased_until")
    list_select_related = ("leased_to",)
    search_fields = ("=image__id",)
    search_help_text = "The number of an image."


@admin.register(
    models.ImportJob,
    models.ExportJob,
    models.ModelExport,
    models.Prediction,
    models.PoolMap,
    models.PoolFeatures,
    models.PoolGraph,
    models.PoolNetwork,
    models.Replay,
    models.ClassChange,
    models.Rerun,
)
class JobAdmin(Shown):
    list_display = ("id", "project", "state", "created_by", "done", "total", "attempts", "heartbeat_at", "finished_at")
    list_filter = ("state",)
    list_select_related = ("project", "created_by")


@admin.register(models.ImportFile)
class ImportFileAdmin(ShownWhole):
    list_display = ("id", "job_id", "name", "size", "received", "entries_done", "is_done")


@admin.register(models.RejectedFile)
class RejectedFileAdmin(ShownWhole):
    list_display = ("id", "job_id", "kind", "name", "reason")
    search_fields = ("=job__id",)
    search_help_text = "The number of an import."


@admin.register(models.Worker)
class WorkerAdmin(Shown):
    list_display = ("name", "queues", "doing", "started_at", "seen_at")


@admin.register(models.ClassProposal)
class ClassProposalAdmin(ShownWhole):
    list_display = ("id", "label_class", "by", "created_at", "decision", "read_at")
    list_select_related = ("label_class", "by")


@admin.register(models.AuditEntry)
class AuditEntryAdmin(ShownWhole):
    list_display = ("id", "at", "project", "by", "kind", "words")
    list_select_related = ("project", "by")


@admin.register(models.ImageMetadata)
class ImageMetadataAdmin(ShownWhole):
    ordering = ("-pk",)
    list_display = ("image_id",)


@admin.register(models.ImportedPerson)
class ImportedPersonAdmin(ShownWhole):
    list_display = ("id", "project", "name", "user")
    list_select_related = ("project", "user")


@admin.register(models.OfferedAnswer)
class OfferedAnswerAdmin(ShownWhole):
    list_display = ("id", "image_id", "person", "class_name", "answered_at")
    list_select_related = ("person",)


@admin.register(models.ImportSecret)
class ImportSecretAdmin(ShownWhole):
    ordering = ("-pk",)
    list_display = ("job_id",)
    exclude = ("sealed",)


@admin.register(models.ApiToken)
class ApiTokenAdmin(ShownWhole):
    list_display = ("id", "user", "name", "prefix", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("user",)
    exclude = ("token_hash",)


@admin.register(models.ApiReply)
class ApiReplyAdmin(ShownWhole):
    list_display = ("id", "user", "key", "status", "created_at")
    list_select_related = ("user",)
    exclude = ("body", "headers")


@admin.register(models.Webhook)
class WebhookAdmin(ShownWhole):
    list_display = ("id", "project", "address", "created_by", "created_at", "failures", "stopped_at")
    list_select_related = ("project", "created_by")
    exclude = ("seed",)


@admin.register(models.WebhookDelivery)
class WebhookDeliveryAdmin(ShownWhole):
    list_display = ("id", "webhook_id", "event", "state", "attempts", "status", "created_at", "ended_at")
