package queue

import (
	_ "net/http"
	"time"
)

func now() (t time.Time) {
	go func() { t = time.Now() }()
	return t
}
