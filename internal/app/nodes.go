package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// NodesReport says how it stands with the machines of an office that has several.
type NodesReport struct {
	Switchboard string       `json:"switchboard"`
	Holder      string       `json:"holder"` // "": nobody ever had it
	Epoch       uint32       `json:"epoch"`
	LeftMS      int64        `json:"left_ms"` // until its lease runs out; negative: since when it has
	Nodes       []NodeReport `json:"nodes"`
}

// NodeReport is one of them, as it said of itself.
type NodeReport struct {
	Name    string    `json:"name"`
	Role    string    `json:"role"` // owner, standby, leaving (it ends its last calls), when it was last heard of
	SIP     string    `json:"sip"`
	Pages   string    `json:"pages"`
	Version string    `json:"version"`
	Seen    time.Time `json:"seen"`
	Silent  bool      `json:"silent"`          // not heard of for longer than a lease
	Owed    int64     `json:"owed"`            // events on its disk that were not in the stream when it was last heard of; of a silent one: at least
	Oldest  time.Time `json:"oldest,omitzero"` // when the oldest of them happened
}

// Nodes of this office.
func (s *Store) Nodes(ctx context.Context) (NodesReport, error) {
	r := NodesReport{Switchboard: s.Config.Office.Switchboard, Nodes: []NodeReport{}}
	lease, err := s.DB.FindLease(ctx, "switchboard/"+s.Config.Office.Switchboard)
	if err != nil {
		return r, err
	}
	r.Holder, r.Epoch, r.LeftMS = lease.Holder, lease.Epoch, lease.Left.Milliseconds()
	list, err := s.DB.Nodes(ctx)
	for _, n := range list {
		r.Nodes = append(r.Nodes, NodeReport{Name: n.Name, Role: n.Role, SIP: n.SIP, Pages: n.Pages, Version: n.Version, Seen: n.Seen, Silent: n.Ago > s.Config.Cluster.Lease, Owed: n.Owed, Oldest: n.Oldest})
	}
	return r, err
}

// Print says it for a person.
func (r NodesReport) Print(w io.Writer) error {
	var errs []error
	say := func(format string, args ...any) {
		_, err := fmt.Fprintf(w, format, args...)
		errs = append(errs, err)
	}
	switch {
	case r.Holder == "":
		say("switchboard %s: no lease was ever taken; an office of one machine needs none\n", r.Switchboard)
	case r.LeftMS > 0:
		say("switchboard %s is on %s (epoch %d)\n", r.Switchboard, r.Holder, r.Epoch)
	default:
		say("switchboard %s is on nobody: the lease of %s (epoch %d) ran out %s ago\n", r.Switchboard, r.Holder, r.Epoch, (-time.Duration(r.LeftMS) * time.Millisecond).Round(time.Second))
	}
	for _, n := range r.Nodes {
		state := n.Role
		if n.Silent {
			state = "SILENT since " + n.Seen.Format(time.RFC3339) + ", was " + n.Role
		}
		say("%-12s %s  calls %s  pages %s  version %s\n", n.Name, state, n.SIP, n.Pages, n.Version)
		if n.Owed > 0 {
			least := ""
			if n.Silent {
				least = "at least "
			}
			say("%-12s owes the stream %s%d events, the oldest of %s\n", "", least, n.Owed, n.Oldest.Format(time.RFC3339))
		}
	}
	return errors.Join(errs...)
}
