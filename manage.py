#!/usr/bin/env python
"""Django's command line for s3proxy."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "s3proxy_site.settings")
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - Django's idiom

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
