"""Every address. One line a page group; the groups own their patterns."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("labeler.api.app")),
    path("", include("labeler.views.health")),
    path("", include("labeler.views.metrics")),
    path("", include("labeler.views.language")),
    path("", include("labeler.views.classes")),
    path("", include("labeler.views.proposals")),
    path("", include("labeler.views.settings")),
    path("", include("labeler.views.webhooks")),
    path("", include("labeler.views.audit")),
    path("", include("labeler.views.people")),
    path("", include("labeler.views.home")),
    path("", include("labeler.views.accounts")),
    path("", include("labeler.views.tokens")),
    path("", include("labeler.views.api_docs")),
    path("", include("labeler.views.label")),
    path("", include("labeler.views.media")),
    path("", include("labeler.views.images")),
    path("", include("labeler.views.image_returns")),
    path("", include("labeler.views.imports")),
    path("", include("labeler.views.import_places")),
    path("", include("labeler.views.exports")),
    path("", include("labeler.views.monitor")),
    path("", include("labeler.views.worth")),
    path("", include("labeler.views.notices")),
    path("", include("labeler.views.rounds")),
    path("", include("labeler.views.serving")),
    path("", include("labeler.views.explore")),
    path("", include("labeler.views.compare")),
    path("", include("labeler.views.replays")),
    path("", include("labeler.views.answers")),
    path("", include("labeler.views.review")),
    path("", include("labeler.views.gold")),
    path("", include("labeler.views.grid")),
    path("", include("labeler.views.comments")),
]

handler400 = "labeler.views.errors.bad_request"
handler403 = "labeler.views.errors.permission_denied"
handler404 = "labeler.views.errors.page_not_found"
handler500 = "labeler.views.errors.server_error"
