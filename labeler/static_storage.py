"""Static files under names that change with their content, JavaScript modules included."""

from __future__ import annotations

import re
from collections.abc import Callable

from whitenoise.storage import CompressedManifestStaticFilesStorage

NOT_OURS = ("admin/", "django_htmx/")


class StaticStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """`import "./x.js"` in a module becomes its hashed name too: after an upgrade no browser mixes versions."""

    support_js_module_import_aggregation = True

    def url_converter(
        self, name: str, hashed_files: dict[str, str], template: str | None = None
    ) -> Callable[[re.Match[str]], str]:
        """Scripts of other packages stay as they are: what looks like an import there may be a comment's example."""
        if name.endswith(".js") and name.startswith(NOT_OURS):
            return lambda match: match[0]
        converter: Callable[[re.Match[str]], str] = super().url_converter(name, hashed_files, template)
        return converter
