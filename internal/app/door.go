package app

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"

	door "yingda/channels/app"
	"yingda/intake"
)

// openDoor opens the door for submissions: from apps, from Open311 clients, and from our own page.
func (a *App) openDoor(ctx context.Context) (err error) {
	c := a.Config
	var private []netip.Prefix
	for _, n := range c.Public.Private {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return fmt.Errorf("public.private: %w", err)
		}
		private = append(private, p)
	}
	line, _ := a.publicLine()
	a.door, err = door.New(ctx, door.Config{DB: a.DB, Log: a.Log, Users: a.users, Dir: filepath.Join(c.Data, "attachments"), Source: a.Source, Epoch: a.Epoch, Switchboard: c.switchboard(),
		Line: line.ID, Lines: a.hasLine, Caller: a.token, Seal: a.keys.attachment, Services: a.services, CaseNumber: a.caseNumber, Office: c.Office.Name, Title: line.Number,
		Private: private, Changed: a.changes.tell, Alarm: a.onWebhook, Now: a.now, NewID: newID, Logger: a.log})
	if err != nil {
		return fmt.Errorf("submissions: %w", err)
	}
	return nil
}

// onWebhook is told when an app's webhook is given up, or works again.
func (a *App) onWebhook(alarm door.Alarm) {
	if alarm.On {
		a.hooksDown.Store(alarm.Token, a.now())
	} else {
		a.hooksDown.Delete(alarm.Token)
	}
	a.changes.tell()
}

func (a *App) hasLine(id intake.LineID) bool {
	_, ok := a.lineByID(id)
	return ok
}

// services are the kinds of matter that people may name: the categories of the rules in force.
func (a *App) services() []door.Service {
	var list []door.Service
	for _, c := range a.cases.Rules().Categories {
		list = append(list, door.Service{Code: c.Code, Name: c.Name, Group: c.Group, Keywords: c.Words, Secret: c.Secret})
	}
	return list
}

func (a *App) caseNumber(ctx context.Context, id intake.CaseID) (string, error) {
	c, err := a.cases.Case(ctx, id)
	return c.Number, err
}

// attachment is the key of a file that somebody sent, from the secret of the month in which it came.
func (k *keys) attachment(id string, at time.Time) ([]byte, error) {
	secret, err := k.Month(at.UTC().Format("2006-01"))
	if err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, secret, nil, "attachment/"+id, 32)
}
