# make demo   a project to try, running at one address      make demo DATA=path   the same with images of yours
# make up     run PlusMinus on this machine                 make test, make check what CI runs
SHELL := /bin/sh
VENV ?= .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
# The first of these that is new enough; make demo PYTHON=/path/to/python3.12 takes that one.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)
PIP_ARGS ?=
DATA ?= digits

.PHONY: help demo up test check format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo              make everything, a demo project and its people, and run it at one address"
	@echo "make demo DATA=PATH    the same with a .zip, an .npz or a folder of class folders (or: mnist)"
	@echo "make up                run PlusMinus on this machine, with your own projects"
	@echo "make test              all tests, on every database and browser that this machine has"
	@echo "make check             formatting, types, templates, migrations, deployment settings"
	@echo "make format            let the formatter have its way"

demo: $(VENV)/.runtime
	@exec $(PY) manage.py demo --data "$(DATA)"

up: $(VENV)/.runtime
	@exec $(PY) manage.py up

test: $(VENV)/.development
	@$(PY) -m tests.run

check: $(VENV)/.development
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy labeler learner gunicorn.conf.py
	$(VENV)/bin/djade --check $$(git ls-files --cached --others --exclude-standard 'templates/*.html')
	$(PY) manage.py makemigrations --check --dry-run
	SECRET_KEY=$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))') DATABASE_URL=postgres://nobody@127.0.0.1/none \
		HTTPS=true ALLOWED_HOSTS=plusminus.example $(PY) manage.py check --deploy --fail-level WARNING
	$(PY) -m pip --disable-pip-version-check check

format: $(VENV)/.development
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(VENV)/bin/djade $$(git ls-files --cached --others --exclude-standard 'templates/*.html')

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamps hold what was installed: nothing is installed again until a list changes.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" && $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "PlusMinus needs Python 3.11 or newer$(if $(PYTHON), and $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not there))."; \
		echo "Install one (apt-get install python3-venv, or python.org), or say where it is: make demo PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python could not make an environment (see above; Debian: apt-get install python3-venv)."; exit 1; }

$(VENV)/.runtime: requirements.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing (about two minutes, once) …"
	@$(PIP) install --quiet $(PIP_ARGS) -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/.development: requirements.txt requirements-dev.txt constraints.txt | $(VENV)/bin/python
	@echo "Installing what tests and checks need (about two minutes, once) …"
	@$(PIP) install --quiet $(PIP_ARGS) -r requirements-dev.txt -c constraints.txt
	@touch $@ $(VENV)/.runtime
