# `make help` lists the targets. Only Go is needed for run, build, test, race,
# fuzz and golden; lint and fmt build their tool from its Go module, once, into
# BINNACLE_CACHE; test-system and bench need what test/packages.txt names.

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
# Without symbol tables the file is a third smaller; stack traces and profiles
# do not need them.
LDFLAGS = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# One set of flags for the program and its tests: the dependencies, which are
# most of the code, are then compiled once for both, and for the linter. Only
# the race detector needs cgo.
export CGO_ENABLED ?= 0
export GOFLAGS := $(strip $(GOFLAGS) -trimpath)

# Tools and virtual machine kernels are kept here, by version, outside the
# checkout: a second checkout or a cleaned one finds them again.
export BINNACLE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/binnacle

LINT_VERSION = v2.15.0
LINT = $(BINNACLE_CACHE)/golangci-lint-$(LINT_VERSION)/golangci-lint

# How long each fuzz target runs.
FUZZTIME ?= 10s

# Packages that run under the race detector.
RACE_PACKAGES ?= ./...

.PHONY: help run build test test-system test-elastic race lint fmt fuzz bench golden

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build and start agent and server in one process on 127.0.0.1:7070, with demo workloads where there are no pods
	build/binnacle run $(if $(wildcard /var/log/pods/*),,--demo)

build: ## build build/binnacle, a static binary
	$(GO) build -ldflags '$(LDFLAGS)' -o build/binnacle ./cmd/binnacle

test: ## vet and unit tests of all packages
	$(GO) vet ./...
	$(GO) test ./...

test-system: build ## functional tests on this host and in a cgroup v2 machine, then black-box tests of build/binnacle
	GO='$(GO)' bash test/system.sh

test-elastic: ## storage/elastic against real servers of all versions: Elasticsearch 7.17, 8.19, 9.5, OpenSearch 2.19, 3.8
	BINNACLE_SEARCH_ENGINES='elasticsearch-7.17.29 elasticsearch-8.19.21 elasticsearch-9.5.3 opensearch-2.19.6 opensearch-3.8.0' \
		GO='$(GO)' bash test/system.sh elastic

race: ## unit tests under the race detector
	CGO_ENABLED=1 $(GO) test -race $(RACE_PACKAGES)

lint: $(LINT) ## run the linters of .golangci.yml
	$(LINT) config verify
	$(LINT) run --build-tags system ./...
	LINT='$(LINT)' bash test/depguard.sh

fmt: $(LINT) ## format the code
	$(LINT) fmt

$(LINT):
	mkdir -p $(@D)
	CGO_ENABLED=0 GOFLAGS= GOBIN=$(@D) $(GO) install -trimpath github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

fuzz: ## run every fuzz target for FUZZTIME
	GO='$(GO)' FUZZTIME='$(FUZZTIME)' bash test/fuzz.sh

bench: build ## measure the budgets, print a table, write build/bench.json
	$(GO) build -o build/worker ./test/functional/worker
	$(GO) build -o build/bench ./test/bench
	build/bench -out build/bench.json

golden: ## rewrite the golden files of the tests
	GO='$(GO)' bash test/golden.sh
