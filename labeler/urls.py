"""Every address. One line a page group; the groups own their patterns."""

from django.contrib import admin
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
]
