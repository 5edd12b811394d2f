//go:build !linux

package sqllog

import (
	"errors"
	"testing"
)

func mountSmall(*testing.T, string, string) error { return errors.ErrUnsupported }
