"""Where files are kept: in DATA_DIR, or in the bucket that STORAGE_URL names. Read by the settings."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

WORDS = "STORAGE_URL is s3://bucket/prefix?endpoint=https://s3.example.org&region=eu-central-1"


@dataclass(frozen=True)
class BucketPlace:
    """A bucket of S3 or of what speaks like it, and the key to it; without a key boto3 looks for one itself."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = "us-east-1"
    key_id: str = ""
    secret: str = field(default="", repr=False)

    @property
    def mark(self) -> str:
        """Short, and another one for another place: copies of one are never taken for those of another."""
        return hashlib.sha256("\n".join((self.endpoint, self.bucket, self.prefix)).encode()).hexdigest()[:12]


def bucket_place(url: str, *, key_id: str, secret: str) -> BucketPlace | None:
    """None: files are in DATA_DIR. Raises ImproperlyConfigured, without the secret."""
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme != "s3" or parts.username or parts.password or parts.fragment:
        raise ImproperlyConfigured(f"{WORDS}; the key comes by STORAGE_KEY_ID and STORAGE_SECRET.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}", parts.netloc):
        raise ImproperlyConfigured(f"{WORDS}: the bucket is missing, or has no name of 3 to 63 letters and digits.")
    options = parse_qs(parts.query, keep_blank_values=True, strict_parsing=False)
    if unknown := sorted(set(options) - {"endpoint", "region"}):
        raise ImproperlyConfigured(f"STORAGE_URL has the unknown option {unknown[0]}. {WORDS}.")
    endpoint = options.get("endpoint", [""])[-1].rstrip("/")
    if endpoint and (urlsplit(endpoint).scheme not in ("http", "https") or not urlsplit(endpoint).hostname):
        raise ImproperlyConfigured(f"The endpoint in STORAGE_URL is no address of http or https. {WORDS}.")
    if bool(key_id) != bool(secret):
        raise ImproperlyConfigured("Set STORAGE_KEY_ID and STORAGE_SECRET both, or neither.")
    prefix = unquote(parts.path).strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise ImproperlyConfigured(f"The prefix in STORAGE_URL is no path. {WORDS}.")
    return BucketPlace(parts.netloc, prefix, endpoint, options.get("region", ["us-east-1"])[-1], key_id, secret)
