"""What the connections of one event loop need to answer requests for objects by themselves."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from django.urls import Resolver404

from proxy import access_log, conf
from proxy.access_log import AccessLines
from proxy.claims import Claims
from proxy.clients import Clients
from proxy.request_counts import RequestCounts
from proxy.server.fast_door import FastDoor
from proxy.server.page_pipe import PagePipe
from proxy.server.routes import Routes
from proxy.service import gateway
from proxy.views import serve_object

if TYPE_CHECKING:
    from proxy.gateway import Gateway

# A target that means the same to everybody: a path, perhaps a query, of characters that one sees.
_PLAIN_TARGET = re.compile(rb"/[!-~]*")


@dataclass(frozen=True, slots=True)
class Service:
    """What answers the requests for objects that take more than memory."""

    gateway: Gateway
    routes: Routes
    counts: RequestCounts

    def view_of(self, target: bytes, path: bytes) -> str | None:
        """The name of the view of objects, where a request's target is for that; else None."""
        if _PLAIN_TARGET.fullmatch(target) is None:
            return None
        decoded = path.decode("ascii")
        try:
            match = self.routes.match(unquote(decoded) if "%" in decoded else decoded)
        except Resolver404:
            return None
        return match.view_name if match.func is serve_object else None


@dataclass(frozen=True, slots=True)
class Front:
    """All of it.

    ``claims`` is None where there is no limit, ``log`` where nothing is logged, or not in the way
    that it knows; ``service`` where only memory answers here, ``pipe`` where there are none such.
    """

    door: FastDoor
    clients: Clients
    claims: Claims | None
    is_logged: bool
    log: AccessLines | None
    service: Service | None = None
    pipe: PagePipe | None = None

    @classmethod
    def as_configured(cls) -> Front | None:
        """None where requests have to be left to the application."""
        config = conf.config()
        if not conf.has_own_middleware_alone():
            # Somebody else's is to see every request.
            return None
        if config.rate_limit_rps and config.redis_url is not None:
            # Counting over the network takes waiting.
            return None
        asked = gateway()
        return cls(
            FastDoor(asked, config.s3_prefix),
            Clients(config),
            Claims(config.rate_limit_rps) if config.rate_limit_rps else None,
            access_log.is_on(),
            AccessLines.where_nothing_else_listens(),
            Service(asked, Routes(), RequestCounts()),
            PagePipe(asked.memory.splice) if sys.platform == "linux" else None,
        )
