"""What STORAGE_URL may say."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from labeler.storage_place import BucketPlace, bucket_place


def test_an_address_is_taken_apart():
    url = "s3://my-pool/some/where?endpoint=https://s3.example.org:9000/&region=eu-central-1"
    found = bucket_place(url, key_id="key", secret="hidden")
    wanted = ("my-pool", "some/where", "https://s3.example.org:9000", "eu-central-1", "key", "hidden")
    assert found == BucketPlace(*wanted)
    assert bucket_place("s3://my-pool", key_id="", secret="") == BucketPlace("my-pool")
    assert bucket_place("", key_id="", secret="") is None


def test_copies_of_one_place_are_not_those_of_another_and_no_secret_is_shown():
    places = [
        BucketPlace("pool"),
        BucketPlace("pool", "a"),
        BucketPlace("pool", "", "http://a"),
        BucketPlace("po", "l"),
    ]
    assert len({place.mark for place in places}) == len(places)
    assert BucketPlace("pool", secret="hidden", key_id="1").mark == BucketPlace("pool").mark
    assert "hidden" not in repr(BucketPlace("pool", secret="hidden"))


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.example.org/pool", "pool", "s3://", "s3://a", "s3://user:hidden@pool", "s3://pool/a/../b",
        "s3://pool//a/./b", "s3://pool?endpoint=file:///etc", "s3://pool?endpoint=s3.example.org",
        "s3://pool?acl=public", "s3://pool#x", "s3://po ol",
    ],
)  # fmt: skip
def test_what_it_may_not_say_is_told_with_an_example(url):
    with pytest.raises(ImproperlyConfigured, match=r"s3://bucket/prefix") as error:
        bucket_place(url, key_id="key", secret="hidden")
    assert "hidden" not in str(error.value)


def test_half_a_key_is_refused():
    with pytest.raises(ImproperlyConfigured, match="both, or neither"):
        bucket_place("s3://pool", key_id="key", secret="")
