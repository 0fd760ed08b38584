package exchange

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/jackfield-dev/jackfield/wire"
)

// Capabilities say which questions the asker can answer. They are comparable.
type Capabilities struct {
	// Declared is the client's capabilities object exactly as it declared it;
	// empty means {}.
	Declared string

	Form     bool // elicitation in form mode
	URL      bool // elicitation in URL mode
	Sampling bool
	Roots    bool
	Tasks    bool // questions as tasks (2025-11-25): the server comes back for the answer

	// TaskResults: a task is taken as the answer to a call, and the asker comes back
	// for the result (2026-07-28, ExtensionTasks).
	TaskResults bool

	// Modern is what a modern server is told of a client of an older revision:
	// Declared without what the revision lacks or means otherwise. Set by Bridge.
	Modern string

	// AsResult: questions are taken as a result and answered by a retry (modern),
	// not asked while the exchange is open.
	AsResult bool
}

// ParseCapabilities reads a client capabilities object. An elicitation
// capability that names no mode means form mode (2025-11-25, elicitation).
func ParseCapabilities(raw wire.Raw) (Capabilities, error) {
	var c struct {
		Elicitation *map[string]wire.Raw `json:"elicitation"`
		Sampling    *wire.Raw            `json:"sampling"`
		Roots       *wire.Raw            `json:"roots"`
		Tasks       *wire.Raw            `json:"tasks"`
		Extensions  struct {
			Tasks *wire.Raw `json:"io.modelcontextprotocol/tasks"`
		} `json:"extensions"`
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return Capabilities{}, nil
	}
	if raw[0] != '{' {
		return Capabilities{}, errors.New("capabilities that are not an object")
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return Capabilities{}, err
	}
	caps := Capabilities{
		Declared: string(raw),
		Sampling: c.Sampling != nil,
		Roots:    c.Roots != nil,
		Tasks:    c.Tasks != nil,

		TaskResults: c.Extensions.Tasks != nil,
	}
	if c.Elicitation != nil {
		modes := *c.Elicitation
		_, form := modes["form"]
		_, caps.URL = modes["url"]
		caps.Form = form || !caps.URL
	}
	if caps.Declared == "{}" {
		caps.Declared = ""
	}
	return caps, nil
}

// Raw is the declared capabilities object, {} when none were declared.
func (c Capabilities) Raw() wire.Raw {
	if c.Declared == "" {
		return wire.Raw("{}")
	}
	return wire.Raw(c.Declared)
}

// Bridge sets Modern, from Declared and from the kinds of questions that the
// client can answer in its revision.
func (c *Capabilities) Bridge() {
	c.TaskResults = false // it has no words for that
	if c.Declared == "" {
		return
	}
	o, err := wire.ScanObject(wire.Raw(c.Declared), bridgedKeys)
	if err != nil {
		return // a client that cannot be understood can answer nothing
	}
	o.Delete("tasks") // 2025-11-25 has them for questions, 2026-07-28 for calls only
	if ext, err := wire.ScanObject(o.Get("extensions"), tasksKeys); err == nil {
		ext.Delete(ExtensionTasks)
		o.Set("extensions", ext.Raw())
	}
	o.Delete("elicitation")
	switch {
	case c.Form && c.URL:
		o.Set("elicitation", wire.Raw(`{"form":{},"url":{}}`))
	case c.Form:
		o.Set("elicitation", wire.Raw(`{"form":{}}`))
	case c.URL:
		o.Set("elicitation", wire.Raw(`{"url":{}}`))
	}
	if !c.Sampling {
		o.Delete("sampling")
	}
	if !c.Roots {
		o.Delete("roots")
	}
	c.Modern = string(o.Raw())
}

var (
	bridgedKeys = []string{"tasks", "elicitation", "sampling", "roots", "extensions"}
	tasksKeys   = []string{ExtensionTasks}
)

// The extensions that the gateway knows, as the extensions member of both sides'
// capabilities names them.
const (
	ExtensionTasks = "io.modelcontextprotocol/tasks" // calls that end in a task (2026-07-28)
	ExtensionUI    = "io.modelcontextprotocol/ui"    // tools that link to a user interface (MCP Apps)
)

// Bridged is what a modern server is told of a client that was Bridged; {} for one
// that can answer nothing.
func (c Capabilities) Bridged() wire.Raw {
	if c.Modern == "" {
		return wire.Raw("{}")
	}
	return wire.Raw(c.Modern)
}

// CanBeAsked reports whether there is a question of the protocol that the asker
// can answer.
func (c Capabilities) CanBeAsked() bool { return c.Form || c.URL || c.Sampling || c.Roots }

// Answers reports whether the asker said that it takes this question of the
// protocol.
func (c Capabilities) Answers(q Question) bool {
	switch q.Method {
	case "elicitation/create":
		if q.IsURL() {
			return c.URL
		}
		return c.Form
	case "sampling/createMessage":
		return c.Sampling
	case "roots/list":
		return c.Roots
	}
	return false
}

// Everything is a client capabilities object that declares all there is. A
// connection that only lists declares it: some servers offer a tool only to
// clients that can answer its questions, and a list is made for all clients.
const Everything = `{"elicitation":{"form":{},"url":{}},"extensions":{"io.modelcontextprotocol/tasks":{},` +
	`"io.modelcontextprotocol/ui":{"mimeTypes":["text/html;profile=mcp-app"]}},"roots":{"listChanged":true},"sampling":{"context":{},"tools":{}},` +
	`"tasks":{"cancel":{},"list":{},"requests":{"elicitation":{"create":{}},"sampling":{"createMessage":{}}}}}`
