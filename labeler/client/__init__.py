"""A client of the API that is usable alone: this folder needs httpx, and tqdm for its command line; nothing of Django.

from labeler.client import PlusMinus

with PlusMinus("http://127.0.0.1:8000", token="pm_…") as site:
    project = site.project("digits")
    for question in project.questions(want=1):
        project.answer(question, label="seven")
"""

from .connection import CannotReach, Connection, Refused
from .site import NewPrediction, PlusMinus, Project, Question, Round

__all__ = ["CannotReach", "Connection", "NewPrediction", "PlusMinus", "Project", "Question", "Refused", "Round"]
