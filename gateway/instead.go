package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/exchange"
	"github.com/jackfield-dev/jackfield/wire"
)

// What a client gets instead of what its revision cannot say.

// address is something that a server wants its user to open before it goes on
// (2025-11-25, elicitation in URL mode).
type address struct {
	URL     string `json:"url"`
	Message string `json:"message"`
}

// addressesIn reads the data of the error that names addresses.
func addressesIn(e *wire.Error) []address {
	var data struct {
		Elicitations []address `json:"elicitations"`
	}
	_ = json.Unmarshal(e.Data, &data) // one that names none is told in the server's words
	all := data.Elicitations[:0]
	for _, a := range data.Elicitations {
		if a.URL != "" && len(all) < maxAsked {
			all = append(all, a)
		}
	}
	return all
}

// addressFirst tells a client that knows no addresses to open in words and links.
func (x *inbound) addressFirst(e *wire.Error) (wire.Raw, *wire.Error) {
	var b strings.Builder
	b.WriteString("Before this can go on, open ")
	all := addressesIn(e)
	switch {
	case len(all) == 0:
		b.WriteString("the address that the server means: " + e.Message)
	case len(all) == 1 && all[0].Message == "":
		b.WriteString(all[0].URL + " and then try again.")
	default:
		b.WriteString("the following and then try again.\n")
		for _, a := range all {
			b.WriteString("\n" + strings.TrimSpace(a.Message+"\n"+a.URL) + "\n")
		}
	}
	return x.inWords(b.String())
}

// missingCapability tells a client of an older revision that it cannot answer what
// the server needs to ask.
func (x *inbound) missingCapability(e *wire.Error) (wire.Raw, *wire.Error) {
	var data struct {
		Required map[string]wire.Raw `json:"requiredCapabilities"`
	}
	_ = json.Unmarshal(e.Data, &data) // the message may say it
	text := "The server needs a client that can do more than this one"
	if len(data.Required) > 0 {
		required, err := json.Marshal(data.Required)
		if err == nil {
			text += " (" + clip(string(required)) + ")"
		}
	}
	return x.inWords(text + ": " + e.Message)
}

// openFirst tells a modern client that its user has to open addresses first: as
// questions if it takes those, else in words.
func (x *inbound) openFirst(caps exchange.Capabilities, e *wire.Error) (int, wire.Raw, *wire.Error) {
	all := addressesIn(e)
	if len(all) > 0 && caps.URL && asksBack(x.msg.Method) {
		raw, err := x.inputRequired(appendAddresses(nil, all), openState, nil)
		return x.modernEnd(raw, err)
	}
	raw, e := x.addressFirst(e)
	if e != nil {
		return modernStatus(e.Code), nil, e
	}
	return x.modernEnd(modernResult(exchange.Result{Raw: raw}, x.msg.Method, x.opts.ServerInfo))
}

// modernEnd is a result, or the error that there is none.
func (x *inbound) modernEnd(raw wire.Raw, err error) (int, wire.Raw, *wire.Error) {
	if err != nil {
		status, e := x.fail(err, x.msg.Method, true)
		return status, nil, e
	}
	return http.StatusOK, raw, nil
}

// opened is an error when the user did not agree to open an address. There is
// nothing to send to the server then: it said already what it wants first.
func opened(answers wire.Raw) error {
	var all map[string]struct {
		Action string `json:"action"`
	}
	if len(answers) > 0 {
		if err := json.Unmarshal(answers, &all); err != nil {
			return jackfield.Errorf(jackfield.Invalid, "inputResponses must be an object of answers to elicitations")
		}
	}
	for _, a := range all {
		if a.Action != "accept" {
			return jackfield.Errorf(jackfield.Unavailable, "the address was not opened, without which the server does nothing; the request was not sent to it again")
		}
	}
	return nil
}

// inputRequired is a result that asks questions, the members of inputRequests, with
// a state that holds inside.
func (x *inbound) inputRequired(questions []byte, kind stateKind, inside []byte) (wire.Raw, error) {
	b, err := x.bindingOf(x.msg.Params)
	if err != nil {
		return nil, err
	}
	out := append([]byte(`{"resultType":"input_required","inputRequests":{`), questions...)
	out = append(append(out, `},"requestState":`...), x.sealState(b, kind, inside)...)
	out = append(append(out, `,"_meta":{"`+metaServerInfo+`":`...), x.opts.ServerInfo...)
	return append(out, "}}"...), nil
}

// inWords is a text for whoever reads the results of tools, and an error where no
// result can be words.
func (x *inbound) inWords(text string) (wire.Raw, *wire.Error) {
	if x.msg.Method != "tools/call" {
		return nil, &wire.Error{Code: codeUnavailable, Message: text}
	}
	b := wire.AppendString([]byte(`{"content":[{"type":"text","text":`), text)
	return append(b, `}],"isError":true}`...), nil
}

// metaFailure is where a result says of which kind a failure is, for programs.
const metaFailure = "dev.jackfield/failure"

var taskParam = []string{"task"}

// wants is the result of a tool's call that a server does not take without something
// of the caller's: a key to be entered, a sign-in. The text is for whoever sits in
// front of the client, and results are what models and people get to see of a call.
// Nil: err is something else, or is no answer to a tool's call. A failure that is not a
// server's, such as a key of ours that was revoked, is none of that.
func (x *inbound) wants(err error) wire.Raw {
	if x.msg.Method != "tools/call" || jackfield.CodeOf(err) != jackfield.AuthRequired {
		return nil
	}
	f := jackfield.FailureOf(err)
	if f == nil || f.Kind != jackfield.FailureAuth {
		return nil
	}
	if o, unread := wire.ScanObject(x.msg.Params, taskParam); unread == nil && o.Get("task") != nil {
		return nil // its answer would have to be a task
	}
	_, e := x.describe(err)
	b := wire.AppendString([]byte(`{"content":[{"type":"text","text":`), e.Message)
	b = append(b, `}],"isError":true,"_meta":{"`+metaFailure+`":`...)
	return append(append(b, e.Data...), "}}"...)
}

// legacyError is what a client of an older revision gets for a server's error.
func (x *inbound) legacyError(caps exchange.Capabilities, res exchange.Result) (wire.Raw, *wire.Error) {
	switch {
	case res.Err.Code == wire.CodeURLElicitationFirst && !caps.URL:
		return x.addressFirst(res.Err)
	case res.Err.Code == wire.CodeMissingCapability && res.Modern:
		return x.missingCapability(res.Err)
	}
	return nil, res.Err
}

var (
	elicitationKeys = []string{"elicitationId"}
	modernQuestions = []string{"elicitationId", "task"} // what questions of 2026-07-28 have not
)

// withElicitationID is a question in the words of 2025-11-25, which gives each
// address to open an id.
func withElicitationID(q exchange.Question, id string) wire.Raw {
	if !q.IsURL() {
		return q.Params
	}
	o, err := wire.ScanObject(q.Params, elicitationKeys)
	if err != nil || o.Get("elicitationId") != nil {
		return q.Params
	}
	o.Set("elicitationId", wire.AppendString(nil, "jackfield-"+id))
	return o.Raw()
}

// appendQuestion appends a question of a legacy server as a member of
// inputRequests.
func appendQuestion(dst []byte, key string, q exchange.Question) []byte {
	dst = append(wire.AppendString(dst, key), `:{"method":`...)
	dst = wire.AppendString(dst, q.Method)
	params := wire.Raw("{}") // the go-sdk's client wants some, also where they are optional
	if q.Params != nil {
		params = q.Params
		if o, err := wire.ScanObject(params, modernQuestions); err == nil {
			o.Delete("elicitationId")
			o.Delete("task")
			params = o.Raw()
		}
	}
	dst = append(append(dst, `,"params":`...), params...)
	return append(dst, '}')
}

// appendAddresses appends addresses to open as members of inputRequests.
func appendAddresses(dst []byte, all []address) []byte {
	for i, a := range all {
		if i > 0 {
			dst = append(dst, ',')
		}
		params := wire.AppendString([]byte(`{"mode":"url","url":`), a.URL)
		params = wire.AppendString(append(params, `,"message":`...), a.Message)
		dst = appendQuestion(dst, "open"+strconv.Itoa(i+1), exchange.Question{Method: "elicitation/create", Params: append(params, '}')})
	}
	return dst
}
