from __future__ import annotations

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from proxy.conf import config
from s3proxy_site.env import message, parse
from tests.site.cases import MINIMAL


def test_the_configuration_is_that_of_the_settings() -> None:
    assert config() is settings.S3PROXY


def test_overridden_settings_are_seen() -> None:
    other, _ = parse({**MINIMAL, "S3_BUCKET": "another"})
    with override_settings(S3PROXY=other):
        assert config().s3_bucket == "another"


def test_a_bad_environment_raises_with_every_problem() -> None:
    _, problems = parse({"CACHE_TTL": "300"})
    with (
        override_settings(S3PROXY=None, S3PROXY_PROBLEMS=problems),
        pytest.raises(ImproperlyConfigured) as caught,
    ):
        config()
    assert str(caught.value) == message(problems)
