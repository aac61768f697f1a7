# The commands of this checkout; `make` alone lists them.

ROOT = .ppm
HOST = 127.0.0.1
PORT = 8080
ARGS =
HOST_PORT =
# of fuzzing, in `make fuzz`
SECONDS = 1800
CORES = $(shell nproc)
# Tests wait for half of their time: two more than there are cores.
WORKERS = $(shell echo $$(($$(nproc) + 2)))

VENV = .venv
BIN = $(VENV)/bin
# PYTHON=… makes .venv with that Python, UPGRADE=… is explained at `lock`
FIND_PYTHON = scripts/find-python $(PYTHON)
PIP = PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip --quiet
# uv's own: what is locked is the same on every Python from the oldest, and says nothing of where it came from; extras are
# named, or the pip that a new .venv begins with takes a pin for another project's
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
	$(if $(UPGRADE),$(if $(filter all,$(UPGRADE)),--upgrade,$(UPGRADE:%=--upgrade-package=%)))

# what bandit reads: all but tests
PYTHON_CODE = bench docker playbooks plugins ppmctl scripts testbed

BUILDS_WITH = $(BIN)/python scripts/check_locks.py --build-requires

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help up ansible generate compose-config images compose-up compose-down host host-exec host-down \
	test test-fast test-e2e test-hosts test-docker test-long needs mutation faults fuzz corpus lint audit lock bench screenshots clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

up: $(VENV)/.server ## start an index on http://127.0.0.1:8080 (PORT=) with its data in .ppm (ROOT=); Ctrl-C stops it
	@exec $(BIN)/ppmctl serve --root "$(ROOT)" --host "$(HOST)" --port "$(PORT)" --first-credential $(ARGS)

host: $(VENV)/.dev ## provision a Debian host in a container with site.yml, on https://localhost:8443 (HOST_PORT=)
	@HOST_PORT="$(HOST_PORT)" $(BIN)/python -m testbed host up

# as it was typed: make expands no $ in it
host-exec: export HOST_COMMAND := $(value CMD)
host-exec: $(VENV)/.dev ## run a command as root on that host (CMD='…')
	@$(BIN)/python -m testbed host exec "$$HOST_COMMAND"

host-down: $(VENV)/.dev ## remove that host and its data
	@$(BIN)/python -m testbed host down

images: $(VENV)/.dev ## build the images of docker/ and print their sizes
	@$(BIN)/python -m testbed images

compose-up: $(VENV)/.dev ## start an index with docker/compose.yml on http://localhost:8080 (HOST_PORT=)
	@HOST_PORT="$(HOST_PORT)" $(BIN)/python -m testbed compose up

compose-down: $(VENV)/.dev ## stop it and keep its data; ARGS=--volumes deletes the data
	@$(BIN)/python -m testbed compose down $(ARGS)

ansible: $(VENV)/.hosts ## install Ansible into .venv, for site.yml and the other playbooks

compose-config: $(VENV)/.hosts ## render docker/settings.yml into docker/local, for docker compose
	@[ -f docker/settings.yml ] || { echo "There is no docker/settings.yml: cp docker/settings.yml.example docker/settings.yml" >&2; exit 2; }
	$(BIN)/ansible-playbook playbooks/compose_config.yml -e @docker/settings.yml
	@echo "Now: cd docker && docker compose up -d && docker compose exec nginx drain-nginx nginx -s reload"

# Half an hour of their own, before each release: hosts on a bucket behind a balancer, kills between any two requests to
# a bucket, a volume that moves between compose and a host, a lost host that is restored on a bare one, each role alone,
# the role hardening, webhooks and the self-check of a host, and the installed collection.
LONG = tests/hosts/test_bucket.py tests/e2e/test_bucket_kills.py tests/docker/test_data.py tests/hosts/test_roles.py \
	tests/hosts/test_backup.py tests/hosts/test_collection.py tests/hosts/test_role_hardening.py \
	tests/hosts/test_webhooks.py tests/hosts/test_self_check.py

test: needs $(VENV)/.dev $(VENV)/.fuzz ## run all tests but those of test-long; as root, first install the Debian packages that they need
	@exec $(BIN)/pytest --numprocesses $(WORKERS) $(ARGS) $(addprefix --ignore=,$(LONG)) \
		tests/unit tests/nginx tests/docker tests/e2e tests/hosts tests/clients

test-fast: $(VENV)/.dev ## run only the unit tests: about a minute, no sockets
	@exec $(BIN)/pytest --numprocesses $(CORES) $(ARGS) tests/unit

test-e2e: needs $(VENV)/.dev ## run only the tests with real servers and clients
	@exec $(BIN)/pytest $(ARGS) tests/nginx tests/e2e

test-hosts: needs $(VENV)/.dev ## run only the tests on hosts in containers
	@exec $(BIN)/pytest $(ARGS) tests/hosts

test-docker: needs $(VENV)/.dev ## run only the tests of the images and of docker compose
	@exec $(BIN)/pytest $(ARGS) tests/docker

test-long: needs $(VENV)/.dev ## run the longest tests, before a release
	@BUCKET_CHANGES=all exec $(BIN)/pytest --numprocesses $(WORKERS) $(ARGS) $(LONG)

# from the start, as mutmut keeps the results of earlier tests; ARGS='ppmctl.index.store.*' tries those alone again
mutation: $(VENV)/.dev ## count the small changes of the core (mutants) that unit tests detect: 20 minutes; ARGS= selects some
	@[ -n "$(ARGS)" ] || rm -rf mutants
	@$(BIN)/mutmut run --max-children 1 $(ARGS)
	@$(BIN)/python scripts/mutation_rates.py

faults: needs $(VENV)/.dev ## plant known faults in a copy; each must be detected by its test (ARGS=WORD selects some)
	@exec $(BIN)/python -m tests.faults $(ARGS)

fuzz: $(VENV)/.dev $(VENV)/.fuzz ## look for inputs and orders of changes that break something, for SECONDS=1800 (ARGS=TARGET…)
	@PYTHONPATH=tests exec nice $(BIN)/python -m fuzz --seconds $(SECONDS) $(ARGS)

corpus: needs $(VENV)/.dev ## compare an index of 67 real files with a folder of them; downloads 10 MB from pip's index
	@exec $(BIN)/pytest $(ARGS) tests/corpus

needs:
	@scripts/apt-needs tests/apt.txt

lint: needs $(VENV)/.dev ## check code, import rules, scripts, YAML, roles, locks, generated files and commit messages
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive $(PYTHON_CODE)
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/mypy
	git ls-files -z plugins/module_utils 'scripts/*.py' 'docker/*.py' 'playbooks/*_plugins/*.py' | xargs -0 $(BIN)/mypy
	cd collections && git -C .. ls-files -z 'plugins/*.py' | sed -z 's|^|ansible_collections/ppm/index/|' | MYPYPATH=. xargs -0 ../$(BIN)/mypy --config-file ../pyproject.toml --explicit-package-bases
	git ls-files -z --cached --others --exclude-standard -- ':!*.j2' ':!tests/fuzz/corpus' | xargs -0 grep -lIsE -m1 '^#!/(usr/)?bin/(env )?(ba|da)?sh$$' | xargs shellcheck
	$(BIN)/hadolint docker/*/Dockerfile testbed/images/*/Dockerfile
	$(BIN)/yamllint --strict .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/ansible-lint -q
	$(BIN)/python scripts/check_locks.py
	$(BIN)/python scripts/generate.py --check
	$(BIN)/cz check --rev-range "$$(git rev-list --max-count=50 HEAD | tail -1)..HEAD"

# not a part of `make test`: the advisory service can't be reached everywhere
audit: $(VENV)/.dev ## look up all pins of locks/ in an advisory database (ARGS="--service osv" asks another one)
	@$(BIN)/python scripts/audit.py $(ARGS)

generate: $(VENV)/.dev ## rewrite the files that are derived from code and roles: READMEs, Accept table, docker/*/rendered
	$(BIN)/python scripts/generate.py

lock: $(VENV)/.dev ## update locks/ from pyproject.toml; UPGRADE=all or UPGRADE=name raises pins
	$(BUILDS_WITH) | $(COMPILE) --extra server -o locks/server.txt pyproject.toml -
	$(BUILDS_WITH) | $(COMPILE) --extra server --extra hosts -c locks/server.txt -o locks/hosts.txt pyproject.toml -
	$(BUILDS_WITH) | $(COMPILE) --extra server --extra hosts --extra dev -c locks/hosts.txt -o locks/dev.txt pyproject.toml -
	$(BUILDS_WITH) | $(COMPILE) --extra fuzz -c locks/dev.txt -o locks/fuzz.txt pyproject.toml -
	printf "%s\n" "moto[s3]" flask-cors | $(COMPILE) -c locks/dev.txt -o docker/s3/requirements.txt -

bench: $(VENV)/.dev ## measure ppm beside nginx, pypiserver, devpi, pypiron and peryx: 20 minutes (ARGS=--help: parts)
	@exec $(BIN)/python -m bench $(ARGS)

screenshots: needs $(VENV)/.dev ## make the pictures of the web pages in docs/images
	@PYTHONPATH=tests $(BIN)/python -m support.screenshots

clean: ## delete .venv, builds and caches, never the data in .ppm
	rm -rf $(VENV) build dist mutants .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv has what one of the locks says, and this checkout itself, editable; the locks agree where they overlap.
$(VENV)/.server $(VENV)/.hosts $(VENV)/.dev $(VENV)/.fuzz: $(VENV)/.%: locks/%.txt pyproject.toml scripts/find-python
	@[ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	    python=$$($(FIND_PYTHON)) && echo "Making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV); }
	@echo "Installing locks/$*.txt into $(VENV)"
	@$(PIP) install --require-hashes -r locks/$*.txt
	@$(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@
