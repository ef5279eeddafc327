"""The routes under cache/, by which an operator looks at what is stored, or purges it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from admin_api.auth import token_required
from admin_api.endpoint import allow, json_response, private, refusal
from admin_api.purge_request import MalformedPurgeError, PurgeRequest
from admin_api.statistics import Counts, report, workers
from proxy import conf, metrics
from proxy.server.handler import BodyTooLargeError, ClientGoneError, LeanRequest
from proxy.service import gateway, store

if TYPE_CHECKING:
    from django.core.handlers.asgi import ASGIRequest
    from django.http import HttpResponse, HttpResponseBase

logger = logging.getLogger("s3proxy.admin")

_MAX_BODY_BYTES = 2**20


@allow("GET", "HEAD")
@token_required
async def stats(request: ASGIRequest) -> HttpResponse:  # noqa: ARG001 - a view
    """See `admin_api.statistics.report`."""
    return json_response(report(workers(), Counts.under(None)))


@allow("POST")
@token_required
async def purge(request: ASGIRequest) -> HttpResponseBase:
    """Carry out a purge, whatever Content-Type its JSON comes with.

    ``purged`` counts stored responses, ``not_found`` lists the S3 keys that had none.
    """
    try:
        body = await _body(request, conf.config().read_timeout)
        asked = PurgeRequest.from_body(body, conf.config().s3_prefix)
    except MalformedPurgeError as exc:
        return refusal(400, str(exc))
    except BodyTooLargeError:
        return refusal(413, f"the body is over {_MAX_BODY_BYTES} bytes; send several purges")
    except (TimeoutError, ClientGoneError):
        response = refusal(408, "the body did not come in time")
        # RFC 9110 §15.5.9: the rest of it must not be taken for a request.
        response.headers["Connection"] = "close"
        return response
    stored = store()
    not_found = [key for key in asked.keys if stored.get(key) is None]
    purged = await gateway().purge(asked.purge)
    metrics.purges.inc()
    counts = {
        "purged": purged.responses,
        "soft": asked.soft,
        "keys": len(asked.keys),
        "prefixes": len(asked.prefixes),
        "all": asked.everything,
    }
    who = {
        "client": request.scope.get("s3proxy.client", "-"),
        "request_id": request.scope.get("s3proxy.request_id"),
    }
    logger.info("purge", extra=counts | {"not_found": len(not_found)} | who)
    if not purged.everywhere:
        error = (
            "purged on this server, but the other replicas could not be told: Redis is "
            "unavailable; they will be once it is back, if this server lives so long"
        )
        return json_response(counts | {"not_found": not_found, "error": error}, 503)
    return json_response(counts | {"not_found": not_found})


@private
@token_required
async def unknown(request: ASGIRequest) -> HttpResponseBase:  # noqa: ARG001 - a view
    """What else is under cache/: kept for admin routes, never an object."""
    return refusal(404, "no such admin route")


async def _body(request: ASGIRequest, seconds: float) -> bytes:
    """Raises BodyTooLargeError, ClientGoneError, TimeoutError."""
    if isinstance(request, LeanRequest):
        return await request.read_body(_MAX_BODY_BYTES, seconds)
    # Django's own handler has read it before the view is called.
    body: bytes = request.read(_MAX_BODY_BYTES + 1)
    if len(body) > _MAX_BODY_BYTES:
        raise BodyTooLargeError
    return body
