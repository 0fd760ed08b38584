package gateway

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"net/http"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// A task's id is only good for whom it was given to, and for the server that made it:
// both are sealed into the id that the client gets. So nothing is kept of a task, and
// its id outlives the process. The same task always has the same id: clients compare.

// maxTaskID is how long a server's id of a task may be.
const maxTaskID = 1024

// taskNames are the ids of tasks as clients have them.
type taskNames struct {
	sealer
	nonces []byte // key of the nonces, which follow from what is sealed
}

func newTaskNames(key []byte) taskNames {
	const purpose = "task id"
	nonces, err := hkdf.Key(sha256.New, key, nil, "jackfield nonce of a "+purpose, 32)
	if err != nil {
		panic(err) // only for lengths that nobody asks for
	}
	return taskNames{newSealer(key, purpose), nonces}
}

// What stands inside: a task, or the place where the next page of a list begins.
const (
	sealedTask   = 1
	sealedCursor = 2
)

// of is the client's id of a task of its server.
func (n taskNames) of(subject string, t broker.Task) string {
	return n.name(sealedTask, subject, t)
}

func (n taskNames) name(kind byte, subject string, t broker.Task) string {
	plain := appendText([]byte{kind}, subject)
	plain = appendText(plain, string(t.Server))
	plain = appendText(plain, t.ID)
	mac := hmac.New(sha256.New, n.nonces)
	mac.Write(plain)
	return n.sealWith(mac.Sum(nil)[:n.aead.NonceSize()], plain)
}

// open finds out which task an id stands for. What was given to somebody else does
// not exist.
func (n taskNames) open(kind byte, subject, name string) (broker.Task, bool) {
	plain, err := n.sealer.open(name)
	if err != nil || len(plain) == 0 || plain[0] != kind {
		return broker.Task{}, false
	}
	var owner, server, id string
	rest := plain[1:]
	for _, field := range []*string{&owner, &server, &id} {
		var ok bool
		if *field, rest, ok = cutText(rest); !ok {
			return broker.Task{}, false
		}
	}
	return broker.Task{Server: jackfield.ServerID(server), ID: id}, owner == subject
}

var errNoTask = jackfield.Errorf(jackfield.NotFound, "there is no such task: it was made for somebody else, by another server, or never")

// aim points a request about a task at the server that made it, under the server's
// own id.
func (x *inbound) aim(req *exchange.Request) error {
	name, ok := wire.String(req.Params.Get("taskId"))
	if !ok {
		return jackfield.Errorf(jackfield.Invalid, "params.taskId must be a string")
	}
	t, ok := x.tasks.open(sealedTask, x.who.Subject, name)
	if !ok {
		return errNoTask
	}
	req.Server = string(t.Server)
	req.Params.Set("taskId", wire.AppendString(nil, t.ID))
	return nil
}

var taskIDKeys = []string{"taskId"}

// named puts the client's id of a task where the server's stands; what holds none
// stays as it is.
func (h *Handler) named(subject, server string, raw wire.Raw) (wire.Raw, error) {
	o, err := wire.ScanObject(raw, taskIDKeys)
	if err != nil {
		return nil, malformed(err)
	}
	id, ok := wire.String(o.Get("taskId"))
	if !ok {
		return raw, nil
	}
	if len(id) > maxTaskID {
		return nil, jackfield.Errorf(jackfield.Internal, "the server gave a task an id of %d bytes; %d are the most", len(id), maxTaskID)
	}
	o.Set("taskId", wire.AppendString(nil, h.tasks.of(subject, broker.Task{Server: jackfield.ServerID(server), ID: id})))
	return o.Raw(), nil
}

// announced are the capabilities of servers in the words of a protocol revision,
// which has tasks in its own way or not at all.
func announced(caps wire.Raw, version string) wire.Raw {
	o, err := wire.ScanObject(caps, announcedKeys)
	if err != nil {
		return orEmpty(caps)
	}
	if version != exchange.V20251125 {
		o.Delete("tasks")
	}
	if version != exchange.Modern {
		if all, err := wire.ScanObject(o.Get("extensions"), taskExtension); err == nil && all.Get(exchange.ExtensionTasks) != nil {
			all.Delete(exchange.ExtensionTasks)
			if o.Set("extensions", all.Raw()); all.Len() == 0 {
				o.Delete("extensions")
			}
		}
	}
	return o.Raw()
}

var (
	announcedKeys = []string{"tasks", "extensions"}
	taskExtension = []string{exchange.ExtensionTasks}
)

// errTasksUndeclared is for a modern client that did not say that it knows tasks.
var errTasksUndeclared = &wire.Error{
	Code:    wire.CodeMissingCapability,
	Message: "this needs a client that declares the extension " + exchange.ExtensionTasks,
	Data:    wire.Raw(`{"requiredCapabilities":{"extensions":{"` + exchange.ExtensionTasks + `":{}}}}`),
}

// modernTask answers a request about a task (2026-07-28, io.modelcontextprotocol/tasks).
func (x *inbound) modernTask(in *parts, c broker.Caller) {
	if !c.Caps.TaskResults {
		x.refuse(http.StatusBadRequest, errTasksUndeclared)
		return
	}
	info, answers := in.meta.Get(exchange.MetaClientInfo), in.params.Get("inputResponses")
	req, token, err := in.request(x.msg.Method, c.Caps)
	if err == nil {
		err = x.aim(req)
	}
	if err == nil && answers != nil && answers[0] != '{' {
		err = jackfield.Errorf(jackfield.Invalid, "inputResponses must be an object")
	}
	if err != nil {
		x.refuse(x.fail(err, x.msg.Method, true))
		return
	}
	req.Meta.ClientInfo = info
	if answers != nil {
		req.Resume = &exchange.Resume{Answers: answers}
	}
	ctx, cancel := x.gate.bind(x.r.Context(), x.visit)
	defer cancel(nil)
	peer := modernPeer{reply: &reply{x: x, open: x.unnamed}}
	peer.token = token
	peer.watch()
	defer peer.close()
	res, err := x.opts.Broker.Do(ctx, c, req, &peer)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && res.Err == nil {
		res.Raw, err = x.named(x.who.Subject, req.Server, res.Raw)
	}
	status, raw, e := x.modernAnswer(c.Caps, res, err)
	peer.finish(status, raw, e)
}

// follow finds the tasks that a subscription names. Those that are not the client's
// are left out, like everything that cannot be heard of.
func (x *inbound) follow(names []string) map[broker.Task]string {
	if len(names) == 0 {
		return nil
	}
	all := make(map[broker.Task]string, len(names))
	for _, name := range names {
		if t, ok := x.tasks.open(sealedTask, x.who.Subject, name); ok {
			all[t] = name
		}
	}
	return all
}

// legacyTask gets a request ready that is about a task, or that may make one, of a
// client with a session (2025-11-25, basic/utilities/tasks).
func (x *inbound) legacyTask(s *session, req *exchange.Request) error {
	switch req.Method {
	case "tools/call":
		if s.version != exchange.V20251125 {
			req.Params.Delete("task")
		}
		return nil
	case "tasks/get", "tasks/result", "tasks/cancel":
		if s.version == exchange.V20251125 {
			return x.aim(req)
		}
	case "tasks/list":
		if s.version == exchange.V20251125 {
			return nil
		}
	case "tasks/update":
	default:
		return nil
	}
	return &wire.Error{Code: wire.CodeMethodNotFound, Message: "there is no " + req.Method + " in a session of protocol version " + s.version}
}

// legacyDo has the broker answer, and puts the client's ids where tasks are named.
func (x *inbound) legacyDo(ctx context.Context, s *session, req *exchange.Request, p *legacyPeer) (exchange.Result, error) {
	if req.Method == "tasks/list" {
		return x.listTasks(ctx, s, req, p)
	}
	p.server = req.Server
	res, err := x.opts.Broker.Do(ctx, x.caller(s), req, p)
	switch {
	case err != nil, res.Err != nil:
	case res.Task:
		res.Raw, err = x.made(s.owner, res)
	case req.Method == "tasks/result":
		res.Raw = x.related(s.owner, req.Server, res.Raw)
	case req.Server != "":
		res.Raw, err = x.named(s.owner, req.Server, res.Raw)
	}
	return res, err
}

var madeKeys = []string{"task"}

// made is the answer to a call that is a task, which is noted as the client's.
func (h *Handler) made(owner string, res exchange.Result) (wire.Raw, error) {
	o, err := wire.ScanObject(res.Raw, madeKeys)
	if err != nil {
		return nil, malformed(err)
	}
	task := o.Get("task")
	inner, err := wire.ScanObject(task, taskIDKeys)
	if err != nil {
		return nil, malformed(err)
	}
	if task, err = h.named(owner, res.Server, task); err != nil {
		return nil, err
	}
	id, _ := wire.String(inner.Get("taskId"))
	h.noted.add(owner, broker.Task{Server: jackfield.ServerID(res.Server), ID: id})
	o.Set("task", task)
	return h.related(owner, res.Server, o.Raw()), nil
}

var (
	pageKeys   = []string{"tasks", "nextCursor"}
	emptyTasks = wire.Raw(`{"tasks":[]}`)
)

// listTasks answers tasks/list: what the servers list that made tasks for this
// client, one page of one server at a time. A server may list everybody's tasks to
// everybody, so only those pass that the client was given.
func (x *inbound) listTasks(ctx context.Context, s *session, req *exchange.Request, p *legacyPeer) (exchange.Result, error) {
	var at broker.Task
	if raw := req.Params.Get("cursor"); raw != nil {
		name, _ := wire.String(raw)
		var ok bool
		if at, ok = x.tasks.open(sealedCursor, s.owner, name); !ok {
			return exchange.Result{}, jackfield.Errorf(jackfield.Invalid, "the cursor of tasks/list is not one of ours; list again from the beginning")
		}
	}
	servers := x.noted.servers(s.owner)
	for i, server := range servers {
		if server < at.Server {
			continue
		}
		req.Server = string(server)
		req.Params.Delete("cursor")
		if server == at.Server && at.ID != "" {
			req.Params.Set("cursor", wire.AppendString(nil, at.ID))
		}
		res, err := x.opts.Broker.Do(ctx, x.caller(s), req, p)
		if err != nil || res.Err != nil {
			if x.only == "" && ctx.Err() == nil || jackfield.CodeOf(err) == jackfield.NotFound {
				continue // its tasks are missing, not those of the others
			}
			return res, err
		}
		next := broker.Task{}
		if i+1 < len(servers) {
			next.Server = servers[i+1]
		}
		res.Raw, err = x.page(s.owner, server, res.Raw, next)
		return res, err
	}
	return exchange.Result{Raw: emptyTasks}, nil
}

// page is one server's page of tasks as the client may see it. next is where the
// list goes on behind the last page of this server; zero: nowhere.
func (x *inbound) page(owner string, server jackfield.ServerID, raw wire.Raw, next broker.Task) (wire.Raw, error) {
	o, err := wire.ScanObject(raw, pageKeys)
	if err != nil {
		return nil, malformed(err)
	}
	var all []wire.Raw
	if err := json.Unmarshal(o.Get("tasks"), &all); err != nil {
		return nil, malformed(err)
	}
	out := []byte{'['}
	for _, one := range all {
		inner, err := wire.ScanObject(one, taskIDKeys)
		if err != nil {
			return nil, malformed(err)
		}
		id, _ := wire.String(inner.Get("taskId"))
		if !x.noted.has(owner, broker.Task{Server: server, ID: id}) {
			continue
		}
		if one, err = x.named(owner, string(server), one); err != nil {
			return nil, err
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, one...)
	}
	o.Set("tasks", append(out, ']'))
	if cursor, _ := wire.String(o.Get("nextCursor")); cursor != "" {
		next = broker.Task{Server: server, ID: cursor}
	}
	o.Delete("nextCursor")
	if next != (broker.Task{}) {
		o.Set("nextCursor", wire.AppendString(nil, x.tasks.name(sealedCursor, owner, next)))
	}
	return o.Raw(), nil
}

// taskStatus is a server's word on one of its tasks, for the client whose it is.
func (h *Handler) taskStatus(owner string, ev exchange.Event) (wire.Raw, bool) {
	if ev.Server == "" {
		return nil, false
	}
	params, err := h.named(owner, ev.Server, ev.Params)
	return params, err == nil // a server's malformed notification is nobody's business
}

var (
	metaKey     = []string{"_meta"}
	relatedKeys = []string{exchange.MetaRelatedTask}
	relatedMark = []byte(exchange.MetaRelatedTask)
)

// related puts the client's id into the word of a message on which task it belongs
// to. server made the task; empty: it is known from what the client was given.
func (h *Handler) related(owner, server string, raw wire.Raw) wire.Raw {
	return withRelated(raw, func(id string) (string, bool) {
		t := broker.Task{Server: jackfield.ServerID(server), ID: id}
		if server == "" {
			var ok bool
			if t, ok = h.noted.find(owner, id); !ok {
				return "", false
			}
		}
		return h.tasks.of(owner, t), len(id) <= maxTaskID
	})
}

// unrelated is the same back.
func (h *Handler) unrelated(owner string, raw wire.Raw) wire.Raw {
	return withRelated(raw, func(name string) (string, bool) {
		t, ok := h.tasks.open(sealedTask, owner, name)
		return t.ID, ok
	})
}

// withRelated replaces the id of the task that a message says it belongs to, if
// it does. What cannot be read passes as it is.
func withRelated(raw wire.Raw, id func(string) (string, bool)) wire.Raw {
	if !bytes.Contains(raw, relatedMark) {
		return raw
	}
	o, err := wire.ScanObject(raw, metaKey)
	if err != nil {
		return raw
	}
	meta, err := wire.ScanObject(o.Get("_meta"), relatedKeys)
	if err != nil {
		return raw
	}
	task, err := wire.ScanObject(meta.Get(exchange.MetaRelatedTask), taskIDKeys)
	if err != nil {
		return raw
	}
	old, ok := wire.String(task.Get("taskId"))
	if !ok {
		return raw
	}
	other, ok := id(old)
	if !ok {
		return raw
	}
	task.Set("taskId", wire.AppendString(nil, other))
	meta.Set(exchange.MetaRelatedTask, task.Raw())
	o.Set("_meta", meta.Raw())
	return o.Raw()
}

// askAbout asks as ask does, where the questions may belong to a task of server.
func (h *Handler) askAbout(ctx context.Context, s *session, server string, questions []exchange.Question, push func([]byte) bool) ([]exchange.Answer, error) {
	about := false
	for _, q := range questions {
		about = about || bytes.Contains(q.Params, relatedMark)
	}
	if !about {
		return h.ask(ctx, s, questions, push)
	}
	mine := make([]exchange.Question, len(questions))
	for i, q := range questions {
		q.Params = h.related(s.owner, server, q.Params)
		mine[i] = q
	}
	answers, err := h.ask(ctx, s, mine, push)
	for i := range answers {
		answers[i].Result = h.unrelated(s.owner, answers[i].Result)
	}
	return answers, err
}
