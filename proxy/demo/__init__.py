"""The sample bucket that `manage.py demo` serves."""
