"""A server whose workers stop, by SIGSTOP, while they hold the store's lock."""

from __future__ import annotations

import sys
from pathlib import Path

# Asked for the key "stop".
STOPPING_AT_A_KEY = (
    sys.executable,
    "-c",
    (
        "import os, signal, sys; sys.argv = ['manage.py', 'serve']\n"
        "import manage; os.environ.setdefault('DJANGO_SETTINGS_MODULE', 's3proxy_site.settings')\n"
        "from proxy.cache.shared_store import SharedStore\n"
        "look = SharedStore.get\n"
        "def get(self, key, now):\n"
        "    with self.memory:\n"
        "        if key.endswith('stop'): os.kill(os.getpid(), signal.SIGSTOP)\n"
        "    return look(self, key, now)\n"
        "SharedStore.get = get\n"
        "manage.main()\n"
    ),
)


def state_of(pid: int) -> str:
    """A process's state as in ps(1): "T" is stopped; "gone" when it is."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"
