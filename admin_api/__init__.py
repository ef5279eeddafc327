"""The administration interface of a running server."""

import time

# When this process began, on time.monotonic(): Django imports its applications at the start.
STARTED = time.monotonic()
