package broker

import (
	"context"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// Task is a task of a server, by the server's own id for it. The broker does not know
// whose a task is: who names one must have made sure that it is the caller's.
type Task struct {
	Server jackfield.ServerID
	ID     string
}

// task passes on a request about a task. Whose it is stands in the request.
func (q *query) task(ctx context.Context) (exchange.Result, error) {
	s, ok := q.server(jackfield.ServerID(q.r.Server))
	if !ok {
		return exchange.Result{}, jackfield.Errorf(jackfield.NotFound, "there is no such task")
	}
	res, err := q.send(ctx, s)
	if err == nil && q.c.Only == "" {
		q.b.links.note(q.c.Principal.Subject, s.ID, resultOf(q.r.Method, res.Raw))
	}
	return res, err
}

var detailedKeys = []string{"result"}

// resultOf is what the call of a task came to, in the answer to a request about it.
func resultOf(method string, raw wire.Raw) wire.Raw {
	if method == "tasks/get" {
		o, err := wire.ScanObject(raw, detailedKeys)
		if err != nil {
			return nil
		}
		return o.Get("result")
	}
	return raw
}

// follow finds the tasks that the listener names, of servers that it may see.
func (l *listener) follow() {
	if len(l.filter.Tasks) == 0 {
		return
	}
	l.tasks = map[jackfield.ServerID]map[string]bool{}
	for _, t := range l.filter.Tasks[:min(len(l.filter.Tasks), maxURIs)] {
		if !l.sees(t.Server) {
			continue
		}
		if l.tasks[t.Server] == nil {
			l.tasks[t.Server] = map[string]bool{}
		}
		l.tasks[t.Server][t.ID] = true
	}
}

var taskKeys = []string{"taskId"}

// taskLocked tells those who follow a task how it comes along. hub.mu is held.
func taskLocked(ln *line, ev exchange.Event) {
	params, err := wire.ScanObject(ev.Params, taskKeys)
	if err != nil {
		return // a malformed notification is nobody's business
	}
	id, _ := wire.String(params.Get("taskId"))
	ev.Server = string(ln.key.Server)
	for l := range ln.listeners {
		if l.tasks[ln.key.Server][id] {
			l.box.updated(ln.key.Server, "\x00"+ev.Server+"\x00"+id, ev) // what comes later says it all
		}
	}
}
