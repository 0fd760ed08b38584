package e2e

// feature is a row of the matrix: what a guest does, what it sees where all is
// well, and what its user sees instead where that is impossible.
type feature struct {
	key    string
	title  string
	about  string
	server string // the first revision whose servers have it
	client string // the first revision whose clients have it, where older ones miss nothing
	gone   string // the first revision whose servers have it no more
	until  string // the last revision whose clients have it, if it went away
	saw    string // what the guest says when it passes, a regular expression
	modern string // what a guest of 2026-07-28 says, if that is something else
	but    []but  // looked through in order; the first that applies counts
}

// but is what happens between some pairs: how it counts, what is seen, a regular
// expression, and the page's words for it. Without anything to see it is not tried.
type but struct {
	when  func(pair) bool
	mark  mark
	saw   string
	words string
}

func clientBefore(revision string) func(pair) bool {
	return func(p pair) bool { return p.client.revision < revision }
}

func both(a, b func(pair) bool) func(pair) bool {
	return func(p pair) bool { return a(p) && b(p) }
}

func serverIs(sdk string, from, to string) func(pair) bool {
	return func(p pair) bool {
		return (sdk == "" || p.server.sdk == sdk) && p.server.revision >= from && p.server.revision <= to
	}
}

func clientIs(sdk string, from, to string) func(pair) bool {
	return func(p pair) bool {
		return (sdk == "" || p.client.sdk == sdk) && p.client.revision >= from && p.client.revision <= to
	}
}

const first = "2024-11-05"

var features = []feature{
	{
		key: "who", title: "Who the server is", server: first,
		about: "The server's name, and its instructions where the definition passes them on (`serverInstructions: true`).",
		saw:   "kitchen: Order at the bar.",
	},
	{
		key: "tools", title: "Tools", server: first,
		about: "A tool is in the list; calling it brings its text.",
		saw:   "listed true, echo: grüße",
	},
	{
		key: "content", title: "Images and embedded resources", server: first,
		about: "A result with an image and a resource inside.",
		saw:   "image image \\+ resource static text",
	},
	{
		key: "audio", title: "Audio", server: "2025-03-26",
		about: "A result with a sound in it.",
		saw:   "audio audio",
		but:   []but{{when: clientBefore("2025-03-26"), mark: instead, saw: ".*audio/wav.*", words: "the revision has no audio: a text in its place says that there was a sound, and of which type"}},
	},
	{
		key: "link", title: "Links to resources", server: "2025-06-18",
		about: "A result that points to a resource of the server.",
		saw:   "link kitchen://static",
		but:   []but{{when: clientBefore("2025-06-18"), mark: instead, saw: ".*kitchen://static.*", words: "the revision has no links in results: a text with the resource's address, which can be read"}},
	},
	{
		key: "structured", title: "Structured results", server: "2025-06-18",
		about: "A result as an object that fits the tool's output schema, beside the same as text.",
		saw:   `structured \{"sum":5\} \+ \{"sum":5\}`,
		but:   []but{{when: clientBefore("2025-06-18"), mark: instead, saw: `\{"sum":5\}`, words: "the revision has no structured results: the text, which says the same"}},
	},
	{
		key: "array", title: "Structured results that are no objects", server: modern,
		about: "A result as an array, which only 2026-07-28 allows.",
		saw:   `structured \[1,2,3\] \+ \[1,2,3\]`,
		but:   []but{{when: clientBefore(modern), mark: instead, saw: `\[1,2,3\]`, words: "the text, which says the same; the client's revision takes objects only"}},
	},
	{
		key: "errors", title: "Errors", server: first,
		about: "A tool that fails, a call that the server refuses with a code and data of its own, and a tool that does not exist.",
		saw:   `tool error: it broke; 4711 (MCP error 4711: )*refused \{"why":"closed"\}; unknown tool -32602`,
		but: []but{{
			when: serverIs("ts", first, "2025-06-18"), mark: cannot,
			saw:   "tool error: it broke; 4711 (MCP error 4711: )*refused ; unknown tool -32602",
			words: "servers made with the TypeScript SDK 1.9 to 1.22 send no data with an error; the rest is there",
		}},
	},
	{
		key: "resources", title: "Resources", server: first,
		about: "Resources and templates are in the lists; a text, a blob and one made from a template are read.",
		saw:   "listed true, static text, 3 bytes, item 7",
	},
	{
		key: "missing", title: "A resource that does not exist", server: first,
		about:  "Reading it is an error. Clients of 2026-07-28 get the code that their revision asks for, -32602; older ones the server's, -32002 or -32602.",
		saw:    "error -32(002|602): .*",
		modern: "error -32602: .*",
	},
	{
		key: "prompts", title: "Prompts", server: first,
		about: "A prompt is in the list; it is fetched with an argument.",
		saw:   "listed true, greet Ann",
	},
	{
		key: "completion", title: "Completion", server: first,
		about: "What was begun is completed for an argument of a prompt and for a part of a template.",
		saw:   "Ann,Anton,7,70",
	},
	{
		key: "form", title: "Questions: a form", server: "2025-06-18",
		about: "In the middle of a call the server asks the user for a name (elicitation in form mode).",
		saw:   "name Ann",
		but:   []but{{when: clientBefore("2025-06-18"), mark: instead, saw: noQuestion, words: noQuestionWords}},
	},
	{
		key: "rounds", title: "Questions: one after the other", server: "2025-06-18",
		about: "The server asks a second question when the first is answered, in the same call.",
		saw:   "Ann likes blue",
		but:   []but{{when: clientBefore("2025-06-18"), mark: instead, saw: noQuestion, words: noQuestionWords}},
	},
	{
		key: "url", title: "Questions: an address to open", server: "2025-11-25",
		about: "The server asks the user to open an address (elicitation in URL mode).",
		saw:   "paid: accept",
		but: []but{
			{when: both(clientBefore("2025-11-25"), serverIs("go", modern, modern)), mark: instead, saw: "tool error: (?s).*https://pay.example/7.*", words: "a server that asks all the same (here the go-sdk): the call ends with a text that names the address and asks to open it and to try again"},
			{when: clientBefore("2025-11-25"), mark: instead, saw: noQuestion, words: "a server that heeds what the client can do: the call ends with its error, which says that the client takes no addresses"},
		},
	},
	{
		key: "sampling", title: "Questions: sampling", server: first,
		about: "The server asks the client's model.",
		saw:   "model said sampled",
	},
	{
		key: "roots", title: "Questions: roots", server: first,
		about: "The server asks for the client's roots.",
		saw:   "roots file:///e2e",
	},
	{
		key: "late", title: "Questions outside a call", server: first, gone: modern,
		about: "The server asks for the roots while no call is open. A server of 2026-07-28 never asks so.",
		saw:   "roots file:///e2e",
		but:   []but{{when: clientIs("", modern, modern), mark: instead, saw: "not answered: .*", words: "a modern client cannot be asked while it calls nothing: the server gets an error at once, the user sees nothing"}},
	},
	{
		key: "progress", title: "Progress", server: first,
		about: "Three steps are told while the call runs.",
		saw:   "done after 1/3 2/3 3/3",
	},
	{
		key: "log", title: "Log lines", server: first,
		about: "The client asks for lines from `info` up; of two that the server writes during a call it gets the warning.",
		saw:   "warning: said aloud",
	},
	{
		key: "cancel", title: "Cancellation", server: first,
		about: "The client gives up a call that runs; the server hears of it.",
		saw:   "cancelled",
	},
	{
		key: "changes", title: "Changes of a list", server: first,
		about: "The server gets a new tool; the client hears of it and finds it in the list.",
		saw:   "heard, listed true",
	},
	{
		key: "updates", title: "Changes of a resource", server: first,
		about: "The client subscribes to a resource and hears when it changes.",
		saw:   "heard of kitchen://static",
	},
	{
		key: "first", title: "An error that names an address", server: "2025-11-25", gone: modern,
		about: "The server refuses a call until its user has opened an address (error -32042); then it is done.",
		saw:   "paid",
		but:   []but{{when: clientBefore("2025-11-25"), mark: instead, saw: "(?s)tool error: .*http://127.0.0.1:.*", words: "the call ends with a text that names the address and asks to open it and to try again"}},
	},
	{
		key: "murmur", title: "Log lines outside a call", server: first, gone: modern,
		about: "The server writes a line while no call is open. A server of 2026-07-28 never does.",
		saw:   "heard true",
		but:   []but{{when: clientIs("", modern, modern), mark: instead, saw: "heard false", words: "a modern client gets log lines with its calls alone: these are dropped"}},
	},
	{
		key: "state", title: "State in a session", server: first, gone: modern,
		about: "The server counts the calls of each session; two connections of one user each have a count of their own. A server of 2026-07-28 has no sessions.",
		saw:   "each has a count of its own",
		but:   []but{{when: clientIs("", modern, modern), mark: instead, saw: "no connection has a count of its own", words: "a modern client has no session that could be told from another: all that a user calls goes through one session of the server, unless the definition says `sharing: call`"}},
	},
	{
		key: "batch", title: "Several requests in one message", server: first, client: "2025-03-26", until: "2025-03-26",
		about: "A client sends two requests as one batch, which 2025-03-26 alone allows.",
		saw:   "listed true, echo: grüße",
		but:   []but{{when: clientIs("go", first, modern), mark: cannot, words: "the go-sdk sends no batches; seen with the TypeScript SDK as client"}},
	},
	{
		key: "task", title: "Tasks", server: "2025-11-25",
		about: "A tool that has to be called as a task. Every client gets the report that it makes.",
		saw:   "report ready",
		but: []but{
			{when: serverIs("go", "2025-11-25", modern), mark: cannot, words: "the go-sdk has no tasks; seen with the TypeScript SDK as server, which in 2026-07-28 leaves them to a few lines of the test"},
			{when: both(clientIs("ts", "2025-11-25", "2025-11-25"), serverIs("ts", "2025-11-25", "2025-11-25")), mark: passes, saw: "as a task: report ready", words: "a client that knows tasks follows the task itself"},
			{when: both(clientIs("ts", modern, modern), serverIs("ts", modern, modern)), mark: passes, saw: "as a task: report ready", words: "a client that knows tasks follows the task itself"},
			{when: clientIs("", first, modern), mark: passes, saw: "report ready", words: "for clients that know no tasks, or those of the other era, the gateway waits for the result"},
		},
	},
	{
		key: "ping", title: "Ping", server: first, until: "2025-11-25",
		about: "The client asks whether the other side is there. 2026-07-28 has no ping; the gateway answers it for servers of any revision.",
		saw:   "pong",
	},
	{
		key: "header", title: "Arguments as headers", server: modern,
		about: "A tool marks an argument with `x-mcp-header`: the server gets it as an HTTP header too, computed by the gateway for clients that know nothing of it.",
		saw:   "argument eu, header eu",
	},
}

// noQuestion is what a call says whose server asks a client that cannot answer.
const (
	noQuestion      = "tool error: .*(does not support|does not take|can do more than this one).*|error 1503: .*did not say that it can answer that"
	noQuestionWords = "the client cannot be asked this: the call ends with an error, the server's or the gateway's, that says so"
)
