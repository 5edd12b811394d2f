package app

import (
	"context"
	"sync"
	"time"

	"yingda/internal/store"
)

// startJobs starts what must run on one machine of several: the readers of the stream, the relay of the tables, callbacks that become due, and looking after what
// was left open. Alone, this machine does it all the time.
func (a *App) startJobs(run context.Context) {
	a.makeReaders()
	if a.kafka != nil {
		a.wg.Go(func() { a.lookAtLag(run) })
	}
	run, a.endJobs = context.WithCancel(run)
	a.wg.Go(func() {
		if a.lease == nil {
			a.jobs(run)
			return
		}
		a.leasedJobs(run)
	})
}

// jobsLease is what the machine has that runs the jobs. Each effect of a reader is fenced by its position beside, so that two who believe they have it do no harm.
const jobsLease = "jobs"

// leasedJobs runs the jobs while this machine has them.
func (a *App) leasedJobs(ctx context.Context) {
	length := a.Config.Cluster.Lease
	want := *a.lease
	want.Name = jobsLease
	for ctx.Err() == nil {
		lease, mine, err := a.DB.TakeLease(ctx, want, length)
		if err != nil || !mine {
			if err != nil && ctx.Err() == nil {
				a.log.Warn("who has the jobs cannot be known now", "err", err)
			}
			sleepFor(ctx, min(lookAgain, length/renewals))
			continue
		}
		a.log.Info("the jobs run here", "epoch", lease.Epoch)
		a.holdJobs(ctx, lease, length)
		gone, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		if err := a.DB.ReleaseLease(gone, lease); err != nil {
			a.log.Warn("the jobs could not be given up; their lease runs out by itself", "err", err)
		}
		cancel()
	}
}

// holdJobs runs them until another machine has them or ctx ends. While the tables cannot be reached they go on trying.
func (a *App) holdJobs(ctx context.Context, lease store.Lease, length time.Duration) {
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { a.jobs(run) })
	for sleepFor(ctx, length/renewals) {
		try, stop := context.WithTimeout(ctx, 3*time.Second)
		have, mine, err := a.DB.RenewLease(try, lease, length)
		stop()
		if err == nil && !mine {
			a.log.Warn("the jobs run elsewhere now", "on", have.Holder)
			break
		}
	}
	cancel()
	wg.Wait()
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
			for _, r := range a.readers {
				r.again(ctx)
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
