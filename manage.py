#!/usr/bin/env python
"""Django's command line for s3proxy."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "s3proxy_site.settings")
    try:
        from django.core.management import execute_from_command_line  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"{error}: use the virtual environment's Python, as in .venv/bin/python manage.py, "
            "or pip install --require-hashes -r requirements/base.txt"
        ) from None

    if sys.argv[1:2] == ["serve"]:
        from proxy import processes, shared_values  # noqa: PLC0415

        processes.open_standard_streams()
        # Before anything makes a metric.
        shared_values.install()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
