"""Which workers are alive, and how one is started where none is."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from labeler import clock
from labeler.models import Worker
from labeler.supervisor import read_procfile

# A queue, and the line of the Procfile that serves it. Beat serves none, and is found by the same name.
PROGRAMS = {
    "learner": "learner",
    "default": "worker",
    "imports": "importer",
    "messages": "messenger",
    "background": "background",
    "beat": "beat",
}
WAITING = {
    "learner": _("No learner is alive: rounds wait, answers are kept."),
    "default": _("No worker for exports and upkeep is alive: they wait, and so does the start of rounds."),
    "imports": _("No importer is alive: imports wait."),
    "messages": _("No messenger is alive: mails and webhooks wait."),
    "background": _(
        "No background worker is alive: features, groups of alike images, networks, maps and replays wait."
    ),
    "beat": _(
        "Beat is not alive: rounds by the clock do not start, and nobody sees to work that was lost or left lying."
    ),
}
# What background workers say that they do (tasks.py), as pages say it.
DOINGS = {
    "drawing a map": _("drawing a map"),
    "computing features of images": _("computing features of images"),
    "looking for images that look alike": _("looking for images that look alike"),
    "training a network": _("training a network"),
    "replaying answers": _("replaying answers"),
    "measuring answers": _("measuring answers"),
    "running a round again": _("running a round again"),
    "preparing a model to be taken away": _("preparing a model to be taken away"),
    "asking a model about an archive": _("asking a model about an archive"),
    "sending the sweep and rounds by the clock": _("sending the sweep and rounds by the clock"),
    "importing images": _("importing images"),
    "writing an export": _("writing an export"),
    "going over the images of changed classes": _("going over the images of changed classes"),
    "sending mail": _("sending mail"),
    "telling webhooks": _("telling webhooks"),
}


@dataclass(frozen=True)
class Missing:
    """A queue that nobody serves, what waits for it, and what a person can do, with a command to be copied."""

    queue: str
    words: str
    advice: str
    command: str


def alive_since() -> datetime:
    """Who was seen after this moment is alive."""
    return clock.now() - timedelta(seconds=settings.WORKER_MISSING_SECONDS)


def workers_alive(queue: str) -> list[Worker]:
    """Those that were seen lately and serve `queue`."""
    return [worker for worker in Worker.objects.filter(seen_at__gt=alive_since()) if queue in worker.queues.split(",")]


def idle_workers(queue: str) -> list[Worker]:
    return [worker for worker in workers_alive(queue) if not worker.doing]


def doings(queue: str) -> list[str]:
    """What the living workers of a queue do, all of them being busy; empty if one is idle or none is alive.

    Without names of projects: the very existence of another one is not told to who is not in it.
    """
    alive = workers_alive(queue)
    return [_in_words(worker.doing) for worker in alive] if all(worker.doing for worker in alive) else []


def _in_words(doing: str) -> str:
    return str(DOINGS.get(doing) or _("working on something else"))


def worker_is_alive(name: str) -> bool:
    return Worker.objects.filter(name=name, seen_at__gt=alive_since()).exists()


def missing_workers(queues: Iterable[str] = tuple(PROGRAMS)) -> list[Missing]:
    """Those of the queues that no living worker serves; one statement."""
    alive = {queue for worker in Worker.objects.filter(seen_at__gt=alive_since()) for queue in worker.queues.split(",")}
    return [_missing(queue) for queue in queues if queue not in alive]


def _missing(queue: str) -> Missing:
    program = PROGRAMS[queue]
    if settings.STARTED_BY == "supervisor":
        log = shlex.quote(str(settings.DATA_DIR / "logs" / f"{program}.log"))
        advice = gettext(
            "It is started again by itself: within seconds if it ended, within three minutes if it hangs. If this "
            "stays, its log says why:"
        )
        return Missing(queue, str(WAITING[queue]), advice, f"tail -n 50 {log}")
    if settings.STARTED_BY == "compose":
        return Missing(
            queue, str(WAITING[queue]), gettext("Start one on the server:"), f"docker compose up --detach {program}"
        )
    by_hand = gettext("Start one, with the variables that the web process has:")
    advice = gettext("Start one:") if settings.IS_EMBEDDED else by_hand
    return Missing(queue, str(WAITING[queue]), advice, _by_hand(program))


def _by_hand(program: str) -> str:
    """The line of the Procfile by this environment's own program, to be typed in any folder of this machine."""
    name, *arguments = read_procfile(settings.BASE_DIR / "Procfile")[program]
    command = shlex.join([str(Path(sys.executable).with_name(name)), *arguments])
    data = f"DATA_DIR={shlex.quote(str(settings.DATA_DIR))} "
    return f"cd {shlex.quote(str(settings.BASE_DIR))} && {data}{command}"
