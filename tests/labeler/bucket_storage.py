"""A bucket as the storage of tests: a server that speaks like S3 in this process, and machines that share only that."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from labeler import storage
from labeler.storage_place import BucketPlace, bucket_place

BUCKET, KEY_ID, SECRET = "pool", "key-of-the-tests", "s3cr3t-of-the-tests"


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def client(endpoint: str) -> Any:
    return boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET
    )


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        client(address).create_bucket(Bucket=BUCKET)
        yield address


@pytest.fixture
def place(endpoint: str, settings) -> BucketPlace:
    """Files of this test are in the bucket, below a prefix of its own."""
    url = f"s3://{BUCKET}/{secrets.token_hex(4)}?endpoint={endpoint}"
    settings.STORAGE = bucket_place(url, key_id=KEY_ID, secret=SECRET)
    return settings.STORAGE


@pytest.fixture
def on_machine(place, settings, tmp_path: Path) -> Callable[[str], Path]:
    """Go on as another machine would: with a folder of its own, and nothing remembered."""

    def go(name: str) -> Path:
        from labeler import round_files
        from labeler.selectors import columns, maps, scores, served

        settings.DATA_DIR = tmp_path / name
        for kept in (scores._summary, scores._metrics, maps.map_records, served._opened, columns.round_points):
            kept.cache_clear()
        storage._bucket.cache_clear()
        round_files._held.clear()
        return settings.DATA_DIR

    go("one")
    return go
