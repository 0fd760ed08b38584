package exchange

import "errors"

// Interest is which of a server's events somebody listens for.
type Interest struct {
	Lists bool     // changes of the lists of tools, prompts and resources
	URIs  []string // updates of these resources
	Tasks []string // how these tasks of the server come along (2026-07-28)

	// Ready, when set, is called once, as soon as the server was told, with what it
	// agreed to. It must not block.
	Ready func(agreed Interest)
}

// ErrNoStream is in the chain of the error that a server gives who offers no
// stream of events.
var ErrNoStream = errors.New("the server offers no stream of events")
