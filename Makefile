# Each target makes its own environment: a Python 3.10 or newer is all that it needs.
.DEFAULT_GOAL := help
.PHONY: help demo demo-check test check lint types docs package checked-environment tox clean

# Not PYTHON, which names the interpreter that .venv is made with.
RUN := .venv/bin/python
ARGS ?=
# Of the demo; what any other than S3 needs comes with the tests.
BACKEND ?= s3
DEMO_BOOTSTRAP = $(if $(filter-out s3,$(BACKEND)),.ci/bootstrap test,:)

help:  ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## Run the demo site with a real server, BACKEND=s3, gcs, ...; Ctrl-C stops both
	@.ci/bootstrap demo
	@$(DEMO_BOOTSTRAP)
	@$(RUN) -m example.demo --backend $(BACKEND) $(ARGS)

demo-check:  ## Drive the demo site with a headless Chromium, then exit
	@.ci/bootstrap demo-check
	@$(DEMO_BOOTSTRAP)
	@$(RUN) -m example.demo --check --backend $(BACKEND) $(ARGS)

test:  ## Run the tests on every server that this machine can have; ARGS go to pytest
	@.ci/bootstrap test
	@PYTHONDEVMODE=1 $(RUN) -m pytest --numprocesses 4 --dist loadscope $(ARGS)

check: lint types docs package  ## Lint, check types, build the docs and the package

lint: checked-environment
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: checked-environment
	$(RUN) -m mypy

docs: checked-environment
	$(RUN) docs/generate.py --check
	$(RUN) -m sphinx -q -W --keep-going -E -b html docs docs/_build/html

package: checked-environment
	rm -rf build dist
	$(RUN) -m build --outdir dist . >build.log 2>&1 || { cat build.log; exit 1; }
	rm -rf build build.log
	$(RUN) -m twine check --strict dist/*

checked-environment:
	@.ci/bootstrap check

tox:  ## Run the tests on every Python and Django, from PATH and pyenv; ARGS go to tox
	@.ci/bootstrap tox
	@PATH="$$(printf '%s:' "$$HOME"/.pyenv/versions/*/bin)$$PATH" $(RUN) -m tox $(ARGS)

clean:  ## Remove all that the targets made
	rm -rf .venv .tox .demo .servers build dist *.egg-info docs/_build build.log .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
