"""The caching proxy as a Django application."""

from django.apps import AppConfig


class ProxyConfig(AppConfig):
    name = "proxy"

    def ready(self) -> None:
        from proxy import checks  # noqa: F401, PLC0415 - registers the system checks
