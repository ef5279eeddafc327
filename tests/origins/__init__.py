"""Offers S3 origins for tests: real servers, and one that misbehaves as told."""

from tests.origins.exchange import RecordedRequest, Step
from tests.origins.gate import Gate
from tests.origins.ports import free_ports, refusing_port, unaccepting
from tests.origins.scripted import ScriptedOrigin
from tests.origins.site import S3Site
from tests.origins.steps import (
    Answer,
    black_hole,
    close_before_reply,
    cut_after,
    drip,
    half_head,
    hold,
    pause,
    per_request,
    raw_bytes,
    redirect,
    respond,
    s3_error,
    sequence,
)
from tests.origins.stored_object import conditional

__all__ = [
    "Answer",
    "Gate",
    "RecordedRequest",
    "S3Site",
    "ScriptedOrigin",
    "Step",
    "black_hole",
    "close_before_reply",
    "conditional",
    "cut_after",
    "drip",
    "free_ports",
    "half_head",
    "hold",
    "pause",
    "per_request",
    "raw_bytes",
    "redirect",
    "refusing_port",
    "respond",
    "s3_error",
    "sequence",
    "unaccepting",
]
