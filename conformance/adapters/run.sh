#!/bin/sh
# Tests and builds each adapter and runs the vectors on it; MESHWIRE names the command to use.
set -eu

adapters=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
if ! command -v go >/dev/null; then
	echo "adapters/go: not run, no Go toolchain"
	exit 0
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Nothing is downloaded, and no other toolchain than the one present is used.
export GOFLAGS=-mod=mod GOTOOLCHAIN=local GOPROXY=off

cd "$adapters/go"
go vet ./...
go test ./...
go build -buildvcs=false -o "$folder/go-codec" .
"${MESHWIRE:-meshwire}" check "stdio:'$folder/go-codec'"
