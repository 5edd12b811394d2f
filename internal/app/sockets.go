package app

import (
	"errors"
	"fmt"
	"net"

	"yingda/telephony/sip"
)

// sockets of the telephones of a machine that changes its role: they stay open, so what comes in the moment between two servers waits in them.
type sockets struct {
	udp *net.UDPConn
	tcp *net.TCPListener
}

func openSockets(c SIPConfig) (s sockets, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("sip: %w", err), s.Close())
		}
	}()
	if c.UDP != "" {
		at, err := net.ResolveUDPAddr("udp", c.UDP)
		if err != nil {
			return s, err
		}
		if s.udp, err = net.ListenUDP("udp", at); err != nil {
			return s, err
		}
	}
	if c.TCP != "" {
		at, err := net.ResolveTCPAddr("tcp", c.TCP)
		if err != nil {
			return s, err
		}
		if s.tcp, err = net.ListenTCP("tcp", at); err != nil {
			return s, err
		}
	}
	return s, nil
}

// lend gives a server the sockets; it closes its own copies.
func (s sockets) lend(c *sip.Config) error {
	if s.udp != nil {
		f, err := s.udp.File()
		if err != nil {
			return err
		}
		c.PacketConn, err = net.FilePacketConn(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	if s.tcp != nil {
		f, err := s.tcp.File()
		if err != nil {
			return err
		}
		c.Listener, err = net.FileListener(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (s sockets) Close() error {
	var errs []error
	if s.udp != nil {
		errs = append(errs, s.udp.Close())
	}
	if s.tcp != nil {
		errs = append(errs, s.tcp.Close())
	}
	return errors.Join(errs...)
}
