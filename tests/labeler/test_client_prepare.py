"""The client has a model prepared: it asks once, looks by reading, and ends with the server's words where it fails."""

from __future__ import annotations

import argparse
import json

import httpx
import pytest

from labeler.client import Connection, Project, Refused
from labeler.client import __main__ as commands
from labeler.client import site as client_site

AT = "/api/v1/projects/digits/rounds/8/prepare"


class Server:
    """Says these states, one after another."""

    def __init__(self, *states: str) -> None:
        self.states, self.asked = list(states), []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.method, request.url.path, request.url.query.decode()))
        state = self.states.pop(0)
        return httpx.Response(200, text=json.dumps({"state": state, "error": "It broke." if state == "failed" else ""}))


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch) -> None:
    monkeypatch.setattr(client_site.time, "sleep", lambda _seconds: None)


def project(server: Server) -> Project:
    return Project(Connection("http://site.example", "pm_x", transport=httpx.MockTransport(server)), "digits")


def test_it_asks_once_and_then_only_reads():
    server = Server("queued", "running", "done")
    assert project(server).prepare(8) == 8
    assert server.asked == [("POST", AT, "again=true"), ("GET", AT, ""), ("GET", AT, "")]


def test_what_fails_is_raised_in_the_servers_words():
    server = Server("queued", "failed")
    with pytest.raises(Refused, match="It broke"):
        project(server).prepare(8)
    assert [method for method, _, _ in server.asked] == ["POST", "GET"]


@pytest.mark.parametrize(("is_in_charge", "said"), [(True, "."), (False, "not in charge")])
def test_the_command_says_apart_from_its_table_whose_model_answers(tmp_path, capsys, is_in_charge, said):
    def answer(_request: httpx.Request) -> httpx.Response:
        classes = [{"name": "dog", "mean": 0.8, "std": 0.1}]
        return httpx.Response(200, json={"round": 4, "in_charge": is_in_charge, "classes": classes, "measures": []})

    (tmp_path / "a.png").write_bytes(b"x")
    options = argparse.Namespace(files=[str(tmp_path / "a.png")] * 2, top=3, out="")
    digits = Project(Connection("http://site.example", "pm_x", transport=httpx.MockTransport(answer)), "digits")
    assert commands._predict_files(digits, options) == 0
    told = capsys.readouterr()
    assert told.err.count("By the model of round 4") == 1 and said in told.err
    assert ("--prepare" in told.err) is not is_in_charge and "round" not in told.out
