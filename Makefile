# yingda 应答. The two commands: make run, make test.
SHELL := /bin/bash
GO    ?= go
OUT   ?= bin
.PHONY: run test check bench fuzz build sample prompts pages setup

# A hotline with robots that phone it: open http://127.0.0.1:8080
run: build
	$(OUT)/yingda demo

build:
	@mkdir -p $(OUT)
	$(GO) build -o $(OUT)/yingda ./cmd/yingda

# Everything that must hold.
test: setup check
	$(GO) test -race -count=1 -timeout 20m ./...

# What needs no other program: format, vet, staticcheck.
check:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

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
