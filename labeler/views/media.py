"""An image's bytes, for members only. They were re-encoded at import, and are served as nothing but an image."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.http import require_safe

from labeler import storage
from labeler.models import User
from labeler.models.images import MEDIA_TYPES
from labeler.selectors.images import stored_image

# Long enough for what the Label page fetches ahead, and for galleries; later the browser asks again (304). Signing out
# empties its cache (labeler/views/accounts.py).
KEPT_SECONDS = 4 * 3600


@require_safe
@login_required
def media(request: HttpRequest, slug: str, image_id: int) -> HttpResponse:
    user = request.user
    stored = stored_image(user, slug, image_id) if isinstance(user, User) else None
    if stored is None or stored.media_type not in MEDIA_TYPES:
        raise Http404("No such image")
    etag = f'"{stored.content_hash}"'
    if etag in request.headers.get("If-None-Match", ""):
        response = HttpResponse(status=304)
    else:
        try:
            data = storage.read_range(stored.pack, stored.offset, stored.length)
        except FileNotFoundError as error:
            raise Http404("The image's file is missing") from error
        response = HttpResponse(data, content_type=stored.media_type)
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = f"private, max-age={KEPT_SECONDS}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'"
    return response


urlpatterns = [path("p/<slug:slug>/media/<int:image_id>/", media, name="media")]
