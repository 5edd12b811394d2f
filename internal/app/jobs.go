package app

import (
	"context"
	"sync"
	"time"
)

// startJobs starts what must run on one machine of several: the readers of the stream, the relay of the tables, callbacks that become due, and looking after what
// was left open. Alone, this machine does it all the time.
func (a *App) startJobs(run context.Context) {
	a.makeReaders()
	a.wg.Go(func() { a.jobs(run) })
}

// jobs runs them until ctx ends.
func (a *App) jobs(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	a.startReaders(ctx, &wg)
	every, look := time.NewTicker(time.Second), time.NewTicker(lookEvery)
	defer every.Stop()
	defer look.Stop()
	var left suspects
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			if _, err := a.books.Wake(ctx, a.now()); err != nil && ctx.Err() == nil {
				a.log.Error("callbacks", "err", err)
			}
		case <-look.C:
			var err error
			if left, err = a.endLeftOpen(ctx, left); err != nil && ctx.Err() == nil {
				a.log.Error("what was left open", "err", err)
			}
		}
	}
}

// lookEvery is how often we look for what was left open.
const lookEvery = 5 * time.Second
