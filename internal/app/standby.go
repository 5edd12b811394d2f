package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/telephony"
	"yingda/telephony/sip"
)

// standby is what a machine does that does not have the switchboard: it sends calls on, and carries to Kafka what is on its disk from when it had.
type standby struct {
	store  *Store
	sip    *sip.Server
	outbox *outbox
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// openStandby opens it; what was opened is closed again when it fails.
func openStandby(ctx context.Context, m *Member) (s *standby, err error) {
	run, cancel := context.WithCancel(ctx)
	s = &standby{cancel: cancel}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.store, err = OpenStore(ctx, m.config, StoreOptions{Logger: m.log, Now: m.opts.Now, Lock: true}); err != nil {
		return s, err
	}
	if err := s.store.OpenStream(ctx, nil); err != nil {
		return s, err
	}
	if s.store.kafka != nil {
		s.outbox = s.store.newOutbox(nil)
		s.wg.Go(func() { s.outbox.run(run) })
	}
	c := s.store.sipConfig()
	c.Elsewhere = m.elsewhere
	c.Lines = func(string, string) (intake.LineID, bool) { return "", false }
	c.Facts = func(pii.Phone, intake.LineID) telephony.Facts { return telephony.Facts{} }
	c.Report, c.Media = func(telephony.Input) {}, silence{}
	if err := m.phones.lend(&c); err != nil {
		return s, fmt.Errorf("sip: %w", err)
	}
	if s.sip, err = sip.Listen(run, c); err != nil {
		return s, fmt.Errorf("sip: %w", err)
	}
	s.wg.Go(func() {
		select {
		case err := <-s.sip.Err():
			m.fail(fmt.Errorf("sip listener: %w", err))
		case <-run.Done():
		}
	})
	return s, nil
}

// Close ends it.
func (s *standby) Close() error {
	var errs []error
	if s.sip != nil {
		errs = append(errs, s.sip.Close())
	}
	s.cancel()
	s.wg.Wait()
	return errors.Join(append(errs, s.store.Close())...)
}

// silence is the audio of a machine that takes no calls.
type silence struct{}

var errStandby = errors.New("this machine stands by")

func (silence) NewLeg(telephony.LegID) (sip.MediaLeg, error) { return nil, errStandby }
func (silence) Bridge(sip.MediaLeg, sip.MediaLeg) error      { return errStandby }
func (silence) Unbridge(sip.MediaLeg, sip.MediaLeg)          {}
func (silence) Record(intake.RecordingID, intake.ContactID, sip.MediaLeg, sip.MediaLeg) error {
	return errStandby
}
func (silence) StopRecord(intake.RecordingID) {}
func (silence) Overloaded() bool              { return false }

// sipConfig is what holds of the telephony edge whether a machine takes calls or sends them on.
func (s *Store) sipConfig() sip.Config {
	c := s.Config
	out := sip.Config{UDP: c.SIP.UDP, TCP: c.SIP.TCP, Domain: c.SIP.Realm, Digests: c.SIP.Digests, Agent: "yingda/" + Version, Logger: s.slog}
	if c.SIP.Advertise != "" {
		out.Advertise = netip.MustParseAddr(c.SIP.Advertise)
	}
	for _, t := range c.trunks() {
		out.Trunks = append(out.Trunks, sip.Trunk{Name: t.Name, Addresses: t.prefixes(), PerSecond: t.Rate, Concurrent: t.MaxCalls, Trusted: true, Forward: t.Forward,
			Outbound: sip.Outbound{Target: t.Out, User: t.User, Password: t.Password}})
	}
	for _, p := range c.Cluster.Peers {
		if prefix, err := parsePrefix(p); err == nil { // Check has seen that it can be read
			out.Peers = append(out.Peers, prefix)
		}
	}
	out.Limits.PerTrunk = max(c.SIP.Rate*20, 1000)
	return out
}
