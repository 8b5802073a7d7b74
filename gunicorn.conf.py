"""How the web processes run. gunicorn reads this file by itself from the folder that it is started in."""

import os
from pathlib import Path

bind = f"{os.environ.get('HOST', '127.0.0.1')}:{os.environ.get('PORT', '8000')}"
workers = int(os.environ.get("WEB_WORKERS", str(min(4, os.cpu_count() or 1))))
worker_class = "gthread"
threads = int(os.environ.get("WEB_THREADS", "8"))
# A worker that does not answer for this long is replaced. Uploads come in parts of 8 MiB, exports are streamed.
timeout = 60
graceful_timeout = 5
keepalive = 65  # longer than a proxy keeps its connections (usually 60 s), so that it never sends into a closed one
# The heartbeat file in memory: on a busy disk a healthy worker would be taken for a hanging one.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
control_socket_disable = True
accesslog = None  # the proxy in front keeps one
