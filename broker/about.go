package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// About is what a client is told before it asks for anything.
type About struct {
	Capabilities wire.Raw // an object
	ServerInfo   wire.Raw // the one server's own; nil: the gateway speaks for itself
	Instructions string
	TTL          time.Duration // how long this may be remembered
	Public       bool          // it is the same for everybody
}

const (
	waitShape       = 2 * time.Second // for servers that nobody has spoken to yet
	aboutTTL        = 5 * time.Minute
	maxInstructions = 64 << 10 // bytes of all servers' instructions together
	maxOwnWords     = 16 << 10 // bytes of one server's among others
)

// capabilities are what a server can do, as far as it matters here.
type capabilities struct {
	Tools       *listCapability `json:"tools"`
	Prompts     *listCapability `json:"prompts"`
	Resources   *listCapability `json:"resources"`
	Completions *struct{}       `json:"completions"`
	Logging     *struct{}       `json:"logging"`
	Tasks       struct {
		List     *struct{} `json:"list"`
		Cancel   *struct{} `json:"cancel"`
		Requests struct {
			Tools struct {
				Call *struct{} `json:"call"`
			} `json:"tools"`
		} `json:"requests"`
	} `json:"tasks"` // 2025-11-25
	Extensions struct {
		Tasks wire.Raw `json:"io.modelcontextprotocol/tasks"` // 2026-07-28
		UI    wire.Raw `json:"io.modelcontextprotocol/ui"`
	} `json:"extensions"`
}

type listCapability struct {
	ListChanged bool `json:"listChanged"`
	Subscribe   bool `json:"subscribe"`
}

// capabilitiesOf reads what a server declared. What cannot be read is not there.
func capabilitiesOf(shape exchange.Shape) capabilities {
	var c capabilities
	_ = json.Unmarshal(declared(shape), &c)
	return c
}

var eraKeys, taskExtension = []string{"tasks", "extensions"}, []string{exchange.ExtensionTasks}

// declared is what a server declared, without tasks in the words of an era in which
// it is not spoken to.
func declared(shape exchange.Shape) wire.Raw {
	o, err := wire.ScanObject(shape.Capabilities, eraKeys)
	if err != nil {
		return shape.Capabilities
	}
	if shape.Modern() {
		o.Delete("tasks")
	} else if all, err := wire.ScanObject(o.Get("extensions"), taskExtension); err == nil && all.Get(exchange.ExtensionTasks) != nil {
		all.Delete(exchange.ExtensionTasks)
		o.Set("extensions", all.Raw())
	}
	return o.Raw()
}

// tells reports whether the server tells of changes in everything that it lists.
func (c *capabilities) tells() bool {
	lists := 0
	for _, l := range []*listCapability{c.Tools, c.Prompts, c.Resources} {
		if l == nil {
			continue
		}
		if !l.ListChanged {
			return false
		}
		lists++
	}
	return lists > 0
}

// anything is what a server could be able to do that nobody has spoken to. Every
// list can be asked for; at worst it is empty.
var anything = capabilities{
	Tools: &listCapability{}, Prompts: &listCapability{}, Resources: &listCapability{Subscribe: true}, Completions: &struct{}{},
}

// join adds what d can do.
func (c *capabilities) join(d capabilities) {
	join := func(to **listCapability, from *listCapability) {
		if from == nil {
			return
		}
		if *to == nil {
			*to = &listCapability{}
		}
		// Changes are noticed here, whether the server tells of them or not.
		(*to).ListChanged = true
		(*to).Subscribe = (*to).Subscribe || from.Subscribe
	}
	join(&c.Tools, d.Tools)
	join(&c.Prompts, d.Prompts)
	join(&c.Resources, d.Resources)
	if d.Completions != nil {
		c.Completions = d.Completions
	}
	if d.Logging != nil {
		c.Logging = d.Logging
	}
	if to, from := &c.Tasks, &d.Tasks; from.Requests.Tools.Call != nil {
		to.Requests.Tools.Call = from.Requests.Tools.Call
		to.List = cmp.Or(to.List, from.List)
		to.Cancel = cmp.Or(to.Cancel, from.Cancel)
	}
	if c.Extensions.Tasks == nil {
		c.Extensions.Tasks = d.Extensions.Tasks
	}
	if c.Extensions.UI == nil {
		c.Extensions.UI = d.Extensions.UI
	}
}

// raw is the capabilities object.
func (c *capabilities) raw() wire.Raw {
	var parts []string
	if c.Tools != nil {
		parts = append(parts, `"tools":{"listChanged":true}`)
	}
	if c.Prompts != nil {
		parts = append(parts, `"prompts":{"listChanged":true}`)
	}
	if c.Resources != nil && c.Resources.Subscribe {
		parts = append(parts, `"resources":{"listChanged":true,"subscribe":true}`)
	} else if c.Resources != nil {
		parts = append(parts, `"resources":{"listChanged":true}`)
	}
	if c.Completions != nil {
		parts = append(parts, `"completions":{}`)
	}
	if c.Logging != nil {
		parts = append(parts, `"logging":{}`)
	}
	if c.Tasks.Requests.Tools.Call != nil {
		tasks := `"requests":{"tools":{"call":{}}}`
		if c.Tasks.Cancel != nil {
			tasks = `"cancel":{},` + tasks
		}
		if c.Tasks.List != nil {
			tasks = `"list":{},` + tasks
		}
		parts = append(parts, `"tasks":{`+tasks+`}`)
	}
	var extensions []string
	if c.Extensions.Tasks != nil {
		extensions = append(extensions, `"`+exchange.ExtensionTasks+`":`+string(c.Extensions.Tasks))
	}
	if c.Extensions.UI != nil {
		extensions = append(extensions, `"`+exchange.ExtensionUI+`":`+string(c.Extensions.UI))
	}
	if extensions != nil {
		parts = append(parts, `"extensions":{`+strings.Join(extensions, ",")+`}`)
	}
	return wire.Raw("{" + strings.Join(parts, ",") + "}")
}

// About tells what initialize and server/discover tell: of one server what it
// says itself, of all what they can do together. Of servers that nobody has spoken
// to it waits a moment to learn more.
func (b *Broker) About(ctx context.Context, c Caller) (About, error) {
	_, v, err := b.view(&c)
	if err != nil {
		return About{}, err
	}
	if err := v.Learn(ctx, c.Principal.Scope(), waitShape); err != nil {
		return About{}, err
	}
	about := About{TTL: aboutTTL}
	var sum capabilities
	servers := v.Servers()
	var words strings.Builder
	for i := range servers {
		s := &servers[i]
		shape, known := b.o.Catalog.Shape(*s)
		if !known {
			about.TTL = 0
			sum.join(anything)
		} else {
			sum.join(capabilitiesOf(shape))
		}
		if c.Only != "" {
			about.Instructions = instructions(s, shape)
			about.Capabilities, about.ServerInfo = declared(shape), shape.ServerInfo
		} else {
			appendInstructions(&words, s.Name, instructions(s, shape))
		}
	}
	if c.Only == "" {
		about.Instructions = words.String()
	}
	if about.Capabilities == nil {
		about.Capabilities = sum.raw()
	}
	return about, nil
}

// instructions is what clients are told about using the server.
func instructions(s *jackfield.Server, shape exchange.Shape) string {
	if s.About.Instructions.FromServer {
		return shape.Instructions
	}
	return s.About.Instructions.Text
}

// appendInstructions adds one server's words to those of all.
func appendInstructions(to *strings.Builder, server, text string) {
	text = strings.TrimSpace(text)
	if text == "" || to.Len() >= maxInstructions {
		return
	}
	if most := min(maxOwnWords, maxInstructions-to.Len()); len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " […]"
	}
	if to.Len() > 0 {
		to.WriteString("\n\n")
	}
	to.WriteString("# " + server + "\n\n" + text)
}
