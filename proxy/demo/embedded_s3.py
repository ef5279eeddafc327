"""Runs moto's S3 server in a thread of this process."""

import secrets
import socket
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import boto3
from botocore.config import Config
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from proxy.demo.bucket import SampleObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

REGION: Final = "us-east-1"


class _QuietHandler(MotoRequestHandler):
    """moto's request handler without werkzeug's line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the proxy's own access log is what the demo is about."""


class EmbeddedS3:
    """An S3 with one bucket, in memory, gone when closed; it owns the socket it listens on.

    moto takes whatever keys it is shown, so each run makes its own.
    """

    def __init__(self, bucket: str, listening: socket.socket) -> None:
        self.bucket = bucket
        self.access_key = f"demo{secrets.token_hex(8)}"
        self.secret_key = secrets.token_urlsafe(24)
        self._socket = listening
        host, port = listening.getsockname()[:2]
        self.endpoint = f"http://{host}:{port}"
        self._server = make_server(
            host,
            port,
            DomainDispatcherApplication(create_backend_app),
            threaded=True,
            request_handler=_QuietHandler,
            fd=listening.fileno(),  # werkzeug would end the process where it cannot bind
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3", daemon=True)

    def client(self) -> "S3Client":
        """A boto3 client for it."""
        kwargs: dict[str, Any] = {
            "endpoint_url": self.endpoint,
            "region_name": REGION,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "config": Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                proxies={},  # an HTTP_PROXY of the environment is not asked for loopback
            ),
        }
        return boto3.client("s3", **kwargs)

    def put(self, objects: Iterable[SampleObject]) -> int:
        """Store `objects`; returns how many."""
        client = self.client()
        count = 0
        for sample in objects:
            optional: dict[str, Any] = {
                "CacheControl": sample.cache_control,
                "ContentEncoding": sample.content_encoding,
            }
            client.put_object(
                Bucket=self.bucket,
                Key=sample.key,
                Body=sample.body,
                ContentType=sample.content_type,
                **{name: value for name, value in optional.items() if value is not None},
            )
            count += 1
        return count

    def __enter__(self) -> Self:
        self._thread.start()
        self.client().create_bucket(Bucket=self.bucket)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._socket.close()
