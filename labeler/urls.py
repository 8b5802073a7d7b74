"""Every address. One line a page group; the groups own their patterns."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("labeler.views.health")),
    path("", include("labeler.views.label")),
    path("", include("labeler.views.media")),
    path("", include("labeler.views.images")),
    path("", include("labeler.views.imports")),
    path("", include("labeler.views.exports")),
    path("", include("labeler.views.monitor")),
    path("", include("labeler.views.rounds")),
]
