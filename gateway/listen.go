package gateway

import (
	"encoding/json"
	"net/http"
	"sync"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// maxURIs is how many resources one subscription may name.
const maxURIs = 1000

// subscription is the filter of subscriptions/listen as it stands on the wire
// (2026-07-28, basic/patterns/subscriptions).
type subscription struct {
	Tools     bool     `json:"toolsListChanged,omitempty"`
	Prompts   bool     `json:"promptsListChanged,omitempty"`
	Resources bool     `json:"resourcesListChanged,omitempty"`
	URIs      []string `json:"resourceSubscriptions,omitempty"`
}

var subscriptionKeys = []string{"toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions"}

// listener is one subscriptions/listen that is open.
type listener struct {
	*reply

	mu    sync.Mutex // guards what follows
	ready bool
	has   broker.Filter // what it was told that it gets
}

// listen answers subscriptions/listen: first what it will tell, then, until the
// client or the gateway goes, what changed.
func (x *inbound) listen(in *parts, c broker.Caller) {
	filter, err := x.listenFilter(in)
	if err == nil {
		err = x.streams.take(x.who.Subject)
	}
	if err != nil {
		status, e := x.fail(err, x.msg.Method, true)
		x.refuse(status, e)
		return
	}
	defer x.streams.give(x.who.Subject)
	x.gate.settle(x.visit)
	ctx, cancel := x.gate.bind(x.r.Context(), x.visit)
	defer cancel(nil)
	l := &listener{reply: &reply{x: x, open: x.unnamed}}
	l.watch()
	defer l.close()
	err = x.opts.Broker.Listen(ctx, c, filter, l.acknowledge, l.deliver)
	l.mu.Lock()
	ready := l.ready
	l.mu.Unlock()
	if err != nil && !ready {
		status, e := x.fail(err, x.msg.Method, true)
		l.finish(status, nil, e)
		return
	}
	l.finish(http.StatusOK, l.farewell(), nil)
}

func (x *inbound) listenFilter(in *parts) (broker.Filter, error) {
	o, err := wire.ScanObject(in.params.Raw(), []string{"notifications"})
	if err != nil {
		return broker.Filter{}, err
	}
	raw := o.Get("notifications")
	if raw == nil || raw[0] != '{' {
		return broker.Filter{}, jackfield.Errorf(jackfield.Invalid, "params.notifications must be an object that says which changes to tell")
	}
	var s subscription
	if _, err := wire.ScanObject(raw, subscriptionKeys); err != nil {
		return broker.Filter{}, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return broker.Filter{}, jackfield.Errorf(jackfield.Invalid, "params.notifications is not a filter: %w", err)
	}
	if len(s.URIs) > maxURIs {
		return broker.Filter{}, jackfield.Errorf(jackfield.Invalid, "one subscription may name %d resources, not %d", maxURIs, len(s.URIs))
	}
	return broker.Filter{Tools: s.Tools, Prompts: s.Prompts, Resources: s.Resources, URIs: s.URIs}, nil
}

// acknowledge tells the client what it will hear.
func (l *listener) acknowledge(has broker.Filter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ready {
		return
	}
	l.ready, l.has = true, has
	filter, err := json.Marshal(subscription{Tools: has.Tools, Prompts: has.Prompts, Resources: has.Resources, URIs: has.URIs})
	if err != nil {
		filter = []byte("{}") // strings and booleans always marshal
	}
	params := append([]byte(`{"_meta":`), l.tag()...)
	params = append(params, `,"notifications":`...)
	params = append(append(params, filter...), '}')
	l.push(wire.AppendNotification(nil, "notifications/subscriptions/acknowledged", params), needed)
}

// tag is the _meta that says which subscription a message belongs to.
func (l *listener) tag() wire.Raw {
	tag := append([]byte(`{"`+metaSubscriptionID+`":`), l.x.msg.ID...)
	return append(tag, '}')
}

// farewell is the result that ends a subscription in good order.
func (l *listener) farewell() wire.Raw {
	meta := append([]byte(`{"`+metaSubscriptionID+`":`), l.x.msg.ID...)
	meta = append(meta, `,"`+metaServerInfo+`":`...)
	meta = append(append(meta, l.x.opts.ServerInfo...), '}')
	return append(append([]byte(`{"resultType":"complete","_meta":`), meta...), '}')
}

// deliver passes an event on, marked with the subscription's id.
func (l *listener) deliver(ev exchange.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !wanted(l.has, ev.Method) { // nothing is, before it was acknowledged
		return
	}
	params := wire.NewObject([]string{"_meta"})
	tag := l.tag()
	if ev.Params != nil {
		var err error
		if params, err = wire.ScanObject(ev.Params, []string{"_meta"}); err != nil {
			return // a server's malformed notification is nobody's business
		}
		if meta := params.Get("_meta"); meta != nil {
			o, err := wire.ScanObject(meta, listenKeys)
			if err != nil {
				return
			}
			o.Set(metaSubscriptionID, l.x.msg.ID)
			tag = o.Raw()
		}
	}
	params.Set("_meta", tag)
	l.push(wire.AppendNotification(nil, ev.Method, params.Raw()), state)
}

// wanted reports whether a subscription has asked for this kind of event.
func wanted(f broker.Filter, method string) bool {
	switch method {
	case "notifications/tools/list_changed":
		return f.Tools
	case "notifications/prompts/list_changed":
		return f.Prompts
	case "notifications/resources/list_changed":
		return f.Resources
	case "notifications/resources/updated":
		return len(f.URIs) > 0
	}
	return false
}
