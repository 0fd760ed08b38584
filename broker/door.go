package broker

import (
	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/catalog"
	"github.com/jackfield-dev/jackfield/exchange"
)

// Find is nil when the principal may ask the server of that name, and else the
// error that says why not.
func (b *Broker) Find(p jackfield.Principal, server string) error {
	_, _, err := b.view(&Caller{Principal: p, Only: server})
	return err
}

// Repeatable reports whether a tool may be carried out a second time without harm,
// as its server annotates it. The tool goes by the caller's name for it.
func (b *Broker) Repeatable(c Caller, tool string) bool {
	_, v, err := b.view(&c)
	if err != nil {
		return false
	}
	target, ok := v.Find(c.Principal.Scope(), catalog.Tools, tool)
	return ok && target.Effect != exchange.EffectUnknown
}

// ParamHeaders says which arguments of a tool its schema mirrors in headers
// (2026-07-28, x-mcp-header). The tool goes by the caller's name for it.
func (b *Broker) ParamHeaders(c Caller, tool string) []catalog.ParamHeader {
	_, v, err := b.view(&c)
	if err != nil {
		return nil
	}
	owner := c.Principal.Scope()
	target, ok := v.Find(owner, catalog.Tools, tool)
	if !ok {
		return nil
	}
	return b.o.Catalog.ParamHeaders(target.Server.ID, owner, target.Key)
}
