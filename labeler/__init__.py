"""The Django project and its app: people, images, answers, rounds. It reaches the learner through `learning.py` only."""

from labeler.celery import app as celery_app

__all__ = ["celery_app"]
