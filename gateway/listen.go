package gateway

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
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
	Tasks     []string `json:"taskIds,omitempty"`
}

var subscriptionKeys = []string{"toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds"}

// listener is one subscriptions/listen that is open.
type listener struct {
	*reply
	tasks map[broker.Task]string // the client's ids of the tasks that it follows

	mu    sync.Mutex // guards what follows
	ready bool
	has   broker.Filter // what it was told that it gets
}

// listen answers subscriptions/listen: first what it will tell, then, until the
// client or the gateway goes, what changed.
func (x *inbound) listen(in *parts, c broker.Caller) {
	filter, tasks, err := x.listenFilter(in, c)
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
	l := &listener{reply: &reply{x: x, open: x.unnamed}, tasks: tasks}
	l.watch()
	defer l.close()
	var lost error // that the one server is gone
	err = x.opts.Broker.Listen(ctx, c, filter, l.acknowledge, func(ev exchange.Event) {
		if lost == nil && strings.HasSuffix(ev.Method, "/list_changed") {
			if lost = x.found(); lost != nil {
				cancel(lost)
			}
		}
		l.deliver(ev)
	})
	if err == nil {
		err = lost
	}
	if gone := x.gate.gone(x.visit); gone != nil {
		err = gone
	}
	l.mu.Lock()
	ready := l.ready
	l.mu.Unlock()
	if _, told := errors.AsType[*jackfield.Error](err); told || err != nil && !ready {
		status, e := x.fail(err, x.msg.Method, true)
		l.finish(status, nil, e)
		return
	}
	l.finish(http.StatusOK, l.farewell(), nil)
}

// listenFilter reads what a subscription wants to hear of, and the client's ids of
// the tasks among that.
func (x *inbound) listenFilter(in *parts, c broker.Caller) (broker.Filter, map[broker.Task]string, error) {
	var none broker.Filter
	o, err := wire.ScanObject(in.params.Raw(), []string{"notifications"})
	if err != nil {
		return none, nil, err
	}
	raw := o.Get("notifications")
	if raw == nil || raw[0] != '{' {
		return none, nil, jackfield.Errorf(jackfield.Invalid, "params.notifications must be an object that says which changes to tell")
	}
	var s subscription
	if _, err := wire.ScanObject(raw, subscriptionKeys); err != nil {
		return none, nil, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return none, nil, jackfield.Errorf(jackfield.Invalid, "params.notifications is not a filter: %w", err)
	}
	if n := len(s.URIs) + len(s.Tasks); n > maxURIs {
		return none, nil, jackfield.Errorf(jackfield.Invalid, "one subscription may name %d resources and tasks, not %d", maxURIs, n)
	}
	if len(s.Tasks) > 0 && !c.Caps.TaskResults {
		return none, nil, errTasksUndeclared
	}
	f := broker.Filter{Tools: s.Tools, Prompts: s.Prompts, Resources: s.Resources, URIs: s.URIs}
	tasks := x.follow(s.Tasks)
	for t := range tasks {
		f.Tasks = append(f.Tasks, t)
	}
	return f, tasks, nil
}

// acknowledge tells the client what it will hear.
func (l *listener) acknowledge(has broker.Filter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ready {
		return
	}
	l.ready, l.has = true, has
	told := subscription{Tools: has.Tools, Prompts: has.Prompts, Resources: has.Resources, URIs: has.URIs}
	for _, t := range has.Tasks {
		told.Tasks = append(told.Tasks, l.tasks[t])
	}
	slices.Sort(told.Tasks)
	filter, err := json.Marshal(told)
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
	params := wire.NewObject(metaKey)
	tag := l.tag()
	if ev.Method == "notifications/tasks" {
		var mine bool
		if ev.Params, mine = l.x.taskStatus(l.x.who.Subject, ev); !mine {
			return
		}
	}
	if ev.Params != nil {
		var err error
		if params, err = wire.ScanObject(ev.Params, metaKey); err != nil {
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
	kind := state
	if ev.Method == "notifications/tasks" && len(ev.Params) > maxEventBytes/2 {
		kind = needed // it holds what a task came to, and there would never be room
	}
	l.push(wire.AppendNotification(nil, ev.Method, params.Raw()), kind)
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
	case "notifications/tasks":
		return len(f.Tasks) > 0
	}
	return false
}
