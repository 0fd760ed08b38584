package exchange

// Effect is what a request can change at the server. The greater, the less.
type Effect uint8

// The effects.
const (
	EffectUnknown Effect = iota // anything: what may have arrived is never sent again
	EffectOnce                  // a change, and sending it twice makes no other than sending it once
	EffectNone                  // nothing that would be missed
)

// EffectOf is the effect that the protocol gives a method. A tool's is its own
// affair, which its annotations may tell.
func EffectOf(method string) Effect {
	switch method {
	case "server/discover", "ping", "tools/list", "prompts/list", "resources/list", "resources/templates/list",
		"resources/read", "prompts/get", "completion/complete", "tasks/get", "tasks/result", "tasks/list",
		// What these leave behind is made again with a new connection.
		"logging/setLevel", "resources/subscribe", "resources/unsubscribe":
		return EffectNone
	case "tasks/update", "tasks/cancel": // an answer that was given already is ignored
		return EffectOnce
	}
	return EffectUnknown
}
