# Every target works on a fresh machine with Python 3.11+ and make: what it needs is installed
# into $(VENV) first, from the hashed lock files, and again only when a lock file changed.
#
#   make demo ARGS="--addr 127.0.0.1:9000"    make test ARGS="-k ranges"
#   make test PYTHON=python3.13 VENV=/tmp/venv313

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
LOCKS := base demo test dev

.DEFAULT_GOAL := help
.PHONY: help demo test check lint bench soak lock lock-check audit sbom clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## serve a sample bucket on http://127.0.0.1:8080, nothing to configure
	@$(BIN)/python manage.py demo $(ARGS)

test: $(VENV)/.installed-test ## run the tests; ARGS are pytest's
	$(BIN)/python -m pytest $(ARGS)

check: lint test ## everything a change must pass: lint, then test

lint: $(VENV)/.installed-dev ## ruff format and lint, mypy, hadolint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

bench: $(VENV)/.installed-test ## measure beside nginx and Varnish (20 min); ARGS=--quick for two minutes
	$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.installed-test ## thirty minutes of load, faults, kills and purges; ARGS="--minutes 5"
	$(BIN)/python -m tests.soak $(ARGS)

lock: $(VENV)/.installed-dev ## write requirements/*.txt from requirements/*.in; ARGS=--upgrade for new versions
	@for name in $(LOCKS); do $(call compile,$$name,requirements/$$name.txt) || exit 1; done

# Starts from the locked versions, so only a change of an input, not a new release, makes it fail.
lock-check: $(VENV)/.installed-dev ## fail when requirements/*.txt do not follow from requirements/*.in
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && for name in $(LOCKS); do \
		cp "requirements/$$name.txt" "$$scratch/$$name.txt" \
		&& $(call compile,$$name,"$$scratch/$$name.txt") \
		&& diff -u "requirements/$$name.txt" "$$scratch/$$name.txt" \
		|| { echo "requirements/$$name.txt is out of step: run make lock" >&2; exit 1; }; \
	done

audit: $(VENV)/.installed-dev ## look up known vulnerabilities of what is shipped, in PyPI's database
	$(BIN)/pip-audit --requirement requirements/base.txt --require-hashes --disable-pip \
		--progress-spinner off --timeout 10 $(ARGS)

# Of the lock file, so that it lists what is shipped with the hashes that are checked at its
# installation, whatever else this environment has.
sbom: $(VENV)/.installed-dev ## write build/sbom.cdx.json, a CycloneDX list of what is shipped
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file build/sbom.cdx.json $(ARGS) requirements/base.txt

clean: ## remove the virtual environment, caches and compiled files
	@if [ -f "$(VENV)/pyvenv.cfg" ]; then rm -rf "$(VENV)"; fi
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find manage.py s3proxy_site proxy admin_api bench tests -name __pycache__ -prune -exec rm -rf {} +

# $(call compile,NAME,OUTPUT): the lock file of requirements/NAME.in.
compile = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal \
	--generate-hashes --python-version 3.11 --no-emit-index-url $(ARGS) \
	--output-file $(2) "requirements/$(1).in"

$(VENV)/.installed-%: requirements/%.txt | $(BIN)/pip
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes -r $<
	@touch $@

$(BIN)/pip:
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "$(PYTHON) not found: install Python 3.11 or newer, or run make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "s3proxy needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version 2>&1);" \
		"run make PYTHON=python3.13, for example" >&2; exit 1; }
	$(PYTHON) -m venv "$(VENV)"
