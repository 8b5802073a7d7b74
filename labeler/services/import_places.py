"""Imports of what is not uploaded: folders of the server, buckets. Like uploads they are looked at first, or start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.crypto import get_random_string
from django.utils.translation import gettext as _

from labeler.buckets import Bucket, BucketError, check_bucket
from labeler.import_roots import FolderRefused, allowed_folder
from labeler.models import ImportFile, ImportJob, ImportSecret, Project, User
from labeler.seals import Unsealable, seal, unseal
from labeler.services.uploads import NOT_STAGED, UploadRefused, create_import, finish_upload
from labeler.told import said, told

PURPOSE = "import"


def import_folder(*, project: Project, by: User, path: str, looks_first: bool = False) -> ImportJob:
    """Import a folder of the server that lies in one of IMPORT_ROOTS. Raises UploadRefused."""
    try:
        folder = allowed_folder(path)
    except FolderRefused as error:
        raise UploadRefused(said(str(error)), error.field) from None
    return _started(project, by, ImportFile.Kind.FOLDER, {"path": str(folder)}, str(folder), "", looks_first)


def import_bucket(*, project: Project, by: User, bucket: Bucket, looks_first: bool = False) -> ImportJob:
    """Import what a bucket holds below a prefix. The secret is kept sealed until the import is over. Raises
    UploadRefused.

    Without an endpoint it is one of IMPORT_S3_BUCKETS, read with the operator's key.
    """
    is_operators = not bucket.endpoint
    try:
        check_bucket(_operators(bucket.name, bucket.prefix) if is_operators else bucket)
    except BucketError as error:
        raise UploadRefused(said(str(error)), error.field) from None
    place: dict[str, str] = {"name": bucket.name, "prefix": bucket.prefix}
    if not is_operators:
        place |= {"endpoint": bucket.endpoint, "region": bucket.region, "key_id": bucket.key_id}
    name = f"s3://{bucket.name}/{bucket.prefix}"
    secret = "" if is_operators else bucket.secret
    return _started(project, by, ImportFile.Kind.BUCKET, place, name, secret, looks_first)


def bucket_of(file: ImportFile) -> Bucket:
    """The bucket of an import with its secret. Raises BucketError where that is gone."""
    place: Mapping[str, Any] = file.place
    if "endpoint" not in place:
        return _operators(place["name"], place["prefix"])
    if not place["key_id"]:
        return Bucket(**place)
    kept = ImportSecret.objects.filter(job=file.job_id).first()
    try:
        return Bucket(**place, secret=unseal(kept.sealed if kept else "", purpose=PURPOSE))
    except Unsealable:
        raise BucketError(told("The secret of the bucket's key is kept no more; start a new import.")) from None


def _operators(name: str, prefix: str) -> Bucket:
    if name not in settings.IMPORT_S3_BUCKETS:
        raise BucketError(
            _(
                "This is none of the buckets that the operator lets managers import from (IMPORT_S3_BUCKETS). "
                "For another one give its endpoint."
            ),
            "name",
        )
    return Bucket(
        endpoint=settings.IMPORT_S3_ENDPOINT, name=name, prefix=prefix, region=settings.IMPORT_S3_REGION,
        key_id=settings.IMPORT_S3_KEY_ID, secret=settings.IMPORT_S3_SECRET,
    )  # fmt: skip


@transaction.atomic
def _started(
    project: Project, by: User, kind: str, place: dict[str, str], name: str, secret: str, looks_first: bool
) -> ImportJob:
    job = create_import(project=project, by=by)
    token = get_random_string(16)
    ImportFile.objects.create(job=job, kind=kind, place=place, name=name[-500:], staged=f"{NOT_STAGED}{token}", size=0)
    if secret:
        ImportSecret.objects.create(job=job, sealed=seal(secret, purpose=PURPOSE))
    finish_upload(job=job, looks_first=looks_first)
    job.refresh_from_db()
    return job
