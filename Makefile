# What people type. Each target does its whole set-up.
VENV := .venv
# Python 3.11, 3.12 or 3.13: the one of the virtual environment that is there, else the first found.
PYTHON ?= $(or $(if $(wildcard $(VENV)/.python-*),$(VENV)/bin/python),$(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done),python3)
STAMP := $(VENV)/.python-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
BIN := $(VENV)/bin
comma := ,

.PHONY: demo test audit install kafka lint clean

# AGGREGATOR=pynq runs the main job through a simulated FPGA board.
demo: $(if $(filter pynq,$(AGGREGATOR)),install-fpga,install)
	@$(BIN)/millrace demo $(if $(DATA),--data $(DATA)) $(if $(AGGREGATOR),--aggregator $(AGGREGATOR)) $(ARGS)

# So many tests at a time: most of them wait for a broker or a worker.
JOBS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
# Hundreds of processes start: where none may keep its compiled modules, each takes 3 s more.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

# ARGS choose tests, as in ARGS=tests/engine.
# Once, and not in each of the processes that test: kernels, and Kafka's jars where they can be.
COMPILE := $(BIN)/python -c 'from engine import EngineSettings; from engine.warm_up import warm_up; [warm_up(EngineSettings(aggregator=name)) for name in ("numba", "int8")]'

test: install-dev $(if $(and $(shell command -v java),$(shell command -v mvn)),kafka-jars)
	@$(COMPILE) & compiling=$$!; $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && wait $$compiling || { kill $$compiling 2>/dev/null; exit 1; }
	@$(PYTEST) -m "not long" $(ARGS)

# What takes long and rarely breaks.
.PHONY: test-long
test-long: install-dev
	@$(PYTEST) -m long $(ARGS)

# A wheel and an sdist, in dist/.
.PHONY: dist
dist: install-dev
	@$(BIN)/python -m build

# Lines that no test reaches; ARGS choose tests.
.PHONY: coverage
coverage: install-dev
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS); status=$$?; $(BIN)/coverage combine --quiet && $(BIN)/coverage report; exit $$status

# Known vulnerabilities among the pins and Kafka's jars, and packages that do not fit together.
AUDIT := .cache/audit

audit: install
	@$(BIN)/python -m pip check
	@[ -x $(AUDIT)/bin/pip-audit ] || { $(PYTHON) -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1; } || echo "audit: pip-audit cannot be installed; without a network nothing is looked up"
	@[ ! -x $(AUDIT)/bin/pip-audit ] || $(PYTHON) .ci/audit.py $(AUDIT)/bin/pip-audit
	@$(PYTHON) .ci/audit_jars.py

# What the default install, the image and Kafka consist of, as CycloneDX.
.PHONY: sbom
sbom:
	@$(PYTHON) .ci/sbom.py >millrace.cdx.json && echo millrace.cdx.json

install: $(VENV)/.installed

.PHONY: install-dev
install-dev: $(VENV)/.installed-dev

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Nothing that is not in the pins is fetched for Millrace itself, what builds it included.
OURS := $(PIP) --no-deps --no-build-isolation -e .
# The versions of the pins, for pip's -c, which refuses to install a folder beside their hashes.
PINS := $(VENV)/.pins

$(PINS): requirements-extras.txt | $(STAMP)
	@sed -E '/--hash/d; s/ \\$$//' $< >$@

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { echo "Millrace needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) -V 2>&1). Name one with 'make $(MAKECMDGOALS) PYTHON=/path/to/python3.11'." >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { echo "Python's venv module is missing: install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@touch $@

$(VENV)/.installed: pyproject.toml requirements.txt | $(STAMP)
	@echo "Installing Millrace into $(VENV) (about a minute, once) ..."
	@$(PIP) --no-compile --require-hashes -r requirements.txt
	@$(OURS)
	@touch $@

# The board's driver needs numpy 1, which is pinned for Python 3.11 alone.
$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt $(PINS)
	@$(PIP) --no-compile --require-hashes -r requirements-dev.txt
	@$(if $(filter %-3.11,$(STAMP)),$(PIP) --no-compile --no-build-isolation -c $(PINS) -e '.[fpga]')
	@touch $@

.PHONY: install-fpga
install-fpga: $(VENV)/.installed-fpga

$(VENV)/.installed-fpga: $(VENV)/.installed $(PINS)
	@command -v g++ >/dev/null || { echo "The simulated board is compiled: install g++ (Debian: apt-get install g++)." >&2; exit 1; }
	@$(PIP) --no-build-isolation -c $(PINS) -e '.[fpga]'
	@touch $@

.PHONY: install-train test-train
install-train: $(VENV)/.installed-train

$(VENV)/.installed-train: $(VENV)/.installed-dev
	@echo "Installing what trains models (5.6 GB) ..."
	@$(PIP) --no-build-isolation -c $(PINS) -e '.[dev,fpga,train]'
	@touch $@

test-train: install-train
	@$(BIN)/pytest tests/engine/training tests/engine/test_trained.py tests/streams/tools/test_paper_command.py tests/engine/evaluation/paper/test_page.py

# Millrace beside other recommenders. DATA is a data set's folder; HTTP=no leaves out the services,
# SASREC=no the 5 GB that SASRec's torch takes (its row then says so).
GORSE := .cache/gorse/gorse-in-one
GORSE_VERSION := v0.4.15

.PHONY: peers peers-data install-peers gorse
peers: peers-data install-peers $(if $(filter no,$(HTTP)),,kafka-jars $(if $(shell command -v go),$(GORSE)))
	@$(BIN)/python -m benchmarks.peers $(DATA) $(ARGS)
ifneq ($(HTTP),no)
	@$(BIN)/python -m benchmarks.http_peers $(DATA) $(HTTP_ARGS)
endif

peers-data:
	@[ -n "$(DATA)" ] || { echo "Name a data set: make peers DATA=path/to/ml-100k ('millrace download' fetches one)." >&2; exit 1; }

PEERS_EXTRAS := dev,peers$(if $(filter no,$(SASREC)),,$(comma)sasrec)

install-peers: $(VENV)/.installed $(PINS)
	@$(PIP) --no-build-isolation -c $(PINS) -e '.[$(PEERS_EXTRAS)]'

gorse: $(GORSE)

# Built in the module's own folder, so that its go.sum fixes what it is built of.
$(GORSE):
	@command -v go >/dev/null || { echo "gorse is built with Go 1.21 or later: install it (Debian: apt-get install golang-go)." >&2; exit 1; }
	@echo "Building gorse $(GORSE_VERSION) (some minutes, once) ..."
	@mkdir -p $(@D)
	@go mod download github.com/zhenghaoz/gorse@$(GORSE_VERSION)
	@go build -C "$$(go env GOMODCACHE)/github.com/zhenghaoz/gorse@$(GORSE_VERSION)" -mod=readonly -o $(CURDIR)/$@ ./cmd/gorse-in-one

# A real Kafka without Docker, for `make kafka` and the tests that need one.
KAFKA_JARS := .cache/kafka

.PHONY: kafka-jars
kafka-jars: $(KAFKA_JARS)/.complete

kafka: install kafka-jars
	@$(BIN)/millrace broker --kafka $(ARGS)

$(KAFKA_JARS)/.complete: pom.xml .ci/kafka-jars.txt
	@command -v java >/dev/null || { echo "Kafka needs Java 11 or later: install it (Debian: apt-get install openjdk-17-jre-headless)." >&2; exit 1; }
	@command -v mvn >/dev/null || { echo "Maven fetches Kafka's jars: install it (Debian: apt-get install maven)." >&2; exit 1; }
	@echo "Fetching Kafka's jars into $(KAFKA_JARS) (46 MB, once) ..."
	@rm -rf $(KAFKA_JARS)
	@mvn --quiet --batch-mode -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=$(KAFKA_JARS)
	@cd $(KAFKA_JARS) && cut -d' ' -f1,2 --output-delimiter='  ' $(CURDIR)/.ci/kafka-jars.txt | sha256sum --check --strict --quiet
	@touch $@
