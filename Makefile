# yingda 应答. The two commands: make run, make test.
SHELL := /bin/bash
GO    ?= go
OUT   ?= bin
.PHONY: run run-services test check bench fuzz build sample prompts pages setup services-up services-down test-services

# A hotline with robots that phone it: open http://127.0.0.1:8080
run: build
	$(OUT)/yingda demo

# The same on a real Kafka, Elasticsearch and PostgreSQL, which are started for it and stopped afterwards.
run-services: build
	./deploy/services/with ./deploy/services/demo $(OUT)/yingda

build:
	@mkdir -p $(OUT)
	$(GO) build -o $(OUT)/yingda ./cmd/yingda

# Everything that must hold. The two packages that take longest begin first.
test: setup check
	$(GO) test -race -count=1 -timeout 20m ./web ./test ./...

# What needs no other program: format, vet, staticcheck.
check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# Tests against the real Kafka, Elasticsearch and PostgreSQL, which are started for them and stopped afterwards: the packages that have files
# with the build tag "services", one after the other, since some of them stop a server; and those that keep tables, on PostgreSQL. See deploy/services/README.md.
SERVICES_PACKAGES ?= $(shell git grep -l '^//go:build services' -- '*_test.go' | xargs -r -n1 dirname | sort -u | sed 's|^|./|')
TABLES_PACKAGES   ?= $(shell git grep -l 'storetest.Address' -- '*_test.go' ':!test' ':!web' | xargs -r -n1 dirname | sort -u | sed 's|^|./|')
SERVICES_RUN      ?= .
test-services: setup
	$(GO) vet -tags services ./...
	./deploy/services/with ./deploy/services/suites "$(TABLES_PACKAGES)" "$(SERVICES_PACKAGES)" "$(SERVICES_RUN)"

services-up:
	@./deploy/services/services up

services-down:
	@./deploy/services/services down

# Every parser of outside bytes, two targets side by side.
FUZZTIME ?= 60s
fuzz:
	./test/fuzz.sh $(FUZZTIME)

bench: setup
	$(GO) test -run '^$$' -bench . -benchtime 2s ./intake/stream/sqllog ./intake/books ./search/bleve ./telephony/sip ./routing/...
	$(GO) run ./bench/media
	$(GO) run ./bench/hotline

# The annotated sample file, made from the structs.
sample:
	UPDATE=1 $(GO) test ./internal/app -run TestSampleIsTheDefault

# The Mandarin prompt pack, made anew (needs espeak-ng and sox).
prompts: setup
	$(GO) run ./telephony/prompts/makepack

# The pages' templates.
pages:
	$(GO) tool templ generate ./web

# What the tests need besides Go: installed when root, else named.
setup:
	./test/setup.sh
