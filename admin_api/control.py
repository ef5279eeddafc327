"""Carries out what is asked of the parent of the workers, where those do not answer."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from admin_api.purge_request import MalformedPurgeError, PurgeRequest
from proxy import conf, metrics
from proxy.service import store

if TYPE_CHECKING:
    from proxy.server.control import Reply

logger = logging.getLogger("s3proxy.admin")


def purge(line: bytes, reply: Reply) -> None:
    """A purge, asked for and answered as over HTTP: see `admin_api.views.cache.purge`.

    With REDIS_URL the answer has ``"replicas": false`` in it: they were not told.
    """
    config = conf.config()
    try:
        asked = PurgeRequest.from_body(line, config.s3_prefix)
    except MalformedPurgeError as exc:
        reply({"error": str(exc)})
        return
    stored = store()
    not_found = [key for key in asked.keys if not stored.holds(key)]
    outcome = asked.outcome(stored.purge_at_once(asked.purge, time.time()))
    metrics.purges.inc()
    answer: dict[str, Any] = outcome | {"not_found": not_found}
    if config.redis_url is not None:
        answer["replicas"] = False
    # First: that nobody reads the log may be why the workers hang.
    reply(answer)
    logger.info("purge", extra=outcome | {"not_found": len(not_found), "via": "control"})
