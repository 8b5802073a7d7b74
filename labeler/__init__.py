"""The Django project and its app: people, images, answers, rounds. Only `learning.py` reaches the learner."""

from labeler.celery import app as celery_app

__all__ = ["celery_app"]
