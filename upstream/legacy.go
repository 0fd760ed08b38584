package upstream

import (
	"context"
	"sync"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// doLegacy plays the upstream half for servers that begin with initialize: what
// they ask back arrives as requests, while the call is open.
func (c *Conn) doLegacy(ctx context.Context, x *call, r *exchange.Request) (exchange.Result, error) {
	if err := c.setLevel(ctx, r.Meta.LogLevel); err != nil {
		return exchange.Result{}, err
	}
	if c.mayBeAsked(r) {
		leave, err := c.attend(ctx)
		if err != nil {
			return exchange.Result{}, err
		}
		defer leave()
	}
	params, err := withMeta(r.Params, func(meta *wire.Object) {
		if x.progress {
			meta.Set(exchange.MetaProgressToken, x.key)
		}
	})
	if err != nil {
		return exchange.Result{}, err
	}
	if r.Caps.AsResult && !x.awaits {
		params.Delete("task") // it would mean something here
	}
	if params.Len() > 0 {
		x.params = params.Raw()
	}
	m, err := c.roundTrip(ctx, x)
	if err != nil {
		return exchange.Result{}, err
	}
	if m.Error == nil {
		res := exchange.Result{Raw: m.Result}
		if r.Method == "tools/call" {
			return c.legacyTask(ctx, x, r, res)
		}
		return res, nil
	}
	e := wire.ParseError(m.Error)
	if c.asksForTask(r, e) {
		return c.asTask(ctx, x, r)
	}
	if e.Code == wire.CodeUnsupportedVersion || e.Code == wire.CodeHeaderMismatch {
		return exchange.Result{}, c.wrongEra()
	}
	if l, isHTTP := c.link.(*httpLink); isHTTP && l.forgets(e) {
		return exchange.Result{}, l.forgot(0)
	}
	return exchange.Result{Err: e}, nil
}

// wrongEra ends a connection to a server that has changed what it speaks. The
// next dial finds out.
func (c *Conn) wrongEra() *failure {
	f := &failure{
		code: jackfield.Unavailable, stage: StageProtocol, notSent: true,
		what: "it no longer speaks protocol " + c.Shape().Version + "; call again, and it will be asked what it does speak",
	}
	c.spend(f)
	return f
}

// withMeta returns params with the protocol's own keys in _meta as set wants
// them.
func withMeta(params wire.Object, set func(meta *wire.Object)) (wire.Object, error) {
	if params.IsZero() {
		params = wire.NewObject(exchange.ParamKeys)
	}
	meta := wire.NewObject(exchange.MetaKeys)
	if raw := params.Get("_meta"); raw != nil {
		var err error
		if meta, err = wire.ScanObject(raw, exchange.MetaKeys); err != nil {
			return params, jackfield.Errorf(jackfield.Invalid, "params._meta cannot be read: %w", err)
		}
	}
	set(&meta)
	if !meta.IsZero() {
		params.Set("_meta", meta.Raw())
	}
	return params, nil
}

// logLevel is the level of log messages that a legacy server was asked for.
type logLevel struct {
	mu  sync.Mutex // guards now
	now string
}

// logLevels from the most talkative to the quietest (RFC 5424).
var logLevels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

func loudness(level string) int {
	for i, l := range logLevels {
		if l == level {
			return len(logLevels) - i
		}
	}
	return 0
}

// change notes that level is wanted and reports whether the server has to be
// told. While other calls are open, a level is only ever made more talkative.
func (l *logLevel) change(level string, othersOpen bool) (before string, tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before = l.now
	if level == before || othersOpen && loudness(level) < loudness(before) {
		return before, false
	}
	l.now = level
	return before, true
}

// setLevel asks a legacy server for log messages; the level holds for the whole
// session. A server that does not log, or refuses the level, is not asked again.
func (c *Conn) setLevel(ctx context.Context, level string) error {
	if level == "" || !c.declares("logging") {
		return nil
	}
	before, tell := c.level.change(level, !c.calls.idle())
	if !tell {
		return nil
	}
	x := newCall("logging/setLevel")
	x.params = append(wire.AppendString([]byte(`{"level":`), level), '}')
	if _, err := c.roundTrip(ctx, x); err != nil {
		c.level.change(before, false)
		return err
	}
	return nil
}

// declares reports whether the server's capabilities have a member name.
func (c *Conn) declares(name string) bool {
	o, err := wire.ScanObject(c.Shape().Capabilities, []string{name})
	return err == nil && o.Get(name) != nil
}
