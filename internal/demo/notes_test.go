package demo

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackfield-dev/jackfield/wire"
)

// clearing begins clear_notes as a legacy client that can be asked, and returns
// the server's question.
func clearing(p *peer) (id string, question wire.Message) {
	p.t.Helper()
	p.legacy("2025-11-25", `{"elicitation":{"form":{}}}`).call("add_note", `{"title":"a"}`)
	p.heard = nil
	id = p.begin("tools/call", `{"name":"clear_notes"}`)
	question = p.next()
	if question.Kind != wire.Request || question.Method != "elicitation/create" {
		p.t.Fatalf("asked %s %s", question.Method, question.Params)
	}
	return id, question
}

func TestALegacyClientIsAskedWhileTheCallIsOpen(t *testing.T) {
	for answer, want := range map[string]string{
		`"result":{"action":"accept","content":{"confirm":true}}`:  "Deleted 1 note",
		`"result":{"action":"accept","content":{"confirm":false}}`: "Not confirmed: nothing was deleted",
		`"result":{"action":"decline"}`:                            "Not confirmed: nothing was deleted",
		`"error":{"code":-32601,"message":"no"}`:                   "the question could not be asked: no (JSON-RPC error -32601)",
	} {
		inBubble(t, "notes", Options{}, func(p *peer) {
			id, question := clearing(p)
			q := decode(t, question.Params)
			if q["message"] != "Delete 1 note for good?" || q["mode"] != "form" || q["requestedSchema"] == nil {
				t.Errorf("the question is %s", question.Params)
			}
			p.send(`{"jsonrpc":"2.0","id":"never asked","result":{}}`)
			p.send(`{"jsonrpc":"2.0","id":` + string(question.ID) + `,` + answer + `}`)
			if got := textOf(t, decode(t, p.answer(id).Result)); got != want {
				t.Errorf("%s: %q, want %q", answer, got, want)
			}
		})
	}
}

func TestAQuestionThatNobodyAnswersEnds(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		id, _ := clearing(p)
		began := time.Now()
		if got := textOf(t, decode(t, p.answer(id).Result)); !strings.Contains(got, "did not answer") || time.Since(began) != askFor {
			t.Errorf("after %v: %q", time.Since(began), got)
		}
	})
	inBubble(t, "notes", Options{}, func(p *peer) {
		clearing(p)
		began := time.Now()
		p.end()
		if time.Since(began) != 0 || len(p.heard) != 1 || !strings.Contains(string(p.heard[0].Result), "the client left") {
			t.Errorf("the end of input took %v and gave %v", time.Since(began), p.heard)
		}
	})
}

func TestAModernClientIsAskedByAResultAndAnswersByARetry(t *testing.T) {
	const accept = `"inputResponses":{"confirm":{"action":"accept","content":{"confirm":true}}}`
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{"elicitation":{"form":{}}}`).call("add_note", `{"title":"a"}`)
		r := p.ok("tools/call", `{"name":"clear_notes"}`)
		questions, _ := r["inputRequests"].(map[string]any)
		q, _ := questions["confirm"].(map[string]any)
		state, _ := r["requestState"].(string)
		if r["resultType"] != "input_required" || q["method"] != "elicitation/create" || state == "" {
			t.Fatalf("%v", r)
		}
		for name, retry := range map[string]string{
			"no answer":       `"requestState":"` + state + `"`,
			"a forged state":  `"requestState":"00",` + accept,
			"no state at all": accept,
		} {
			if r = p.ok("tools/call", `{"name":"clear_notes",`+retry+`}`); r["resultType"] != "input_required" {
				t.Errorf("%s: %v", name, r)
			}
		}
		p.call("add_note", `{"title":"b"}`)
		r = p.ok("tools/call", `{"name":"clear_notes","requestState":"`+state+`",`+accept+`}`)
		if r["resultType"] != "input_required" || r["requestState"] == state {
			t.Errorf("a yes to one note deleted two: %v", r)
		}
		state, _ = r["requestState"].(string)
		r = p.ok("tools/call", `{"name":"clear_notes","requestState":"`+state+`",`+accept+`}`)
		if got := textOf(t, r); got != "Deleted 2 notes" {
			t.Errorf("%q", got)
		}
	})
}

func TestNotesThatChangeWhileThePersonThinksAreNotDeleted(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		id, question := clearing(p)
		p.call("add_note", `{"title":"b"}`)
		p.send(`{"jsonrpc":"2.0","id":` + string(question.ID) + `,"result":{"action":"accept","content":{"confirm":true}}}`)
		if got := textOf(t, decode(t, p.answer(id).Result)); !strings.Contains(got, "changed in the meantime") {
			t.Errorf("%q", got)
		}
	})
}

func TestNotesAreResources(t *testing.T) {
	for era, client := range clients {
		inBubble(t, "notes", Options{}, func(p *peer) {
			client(p)
			r := p.ok("tools/call", `{"name":"add_note","arguments":{"title":"Milk","text":"two"}}`)
			content, _ := r["content"].([]any)
			link, _ := content[1].(map[string]any)
			if link["type"] != "resource_link" || link["uri"] != "notes://1" {
				t.Errorf("%s: link %v", era, link)
			}
			listed, _ := p.ok("resources/list", "")["resources"].([]any)
			if len(listed) != 1 || listed[0].(map[string]any)["uri"] != "notes://1" {
				t.Errorf("%s: listed %v", era, listed)
			}
			r = p.ok("resources/read", `{"uri":"notes://1"}`)
			want := []any{map[string]any{"uri": "notes://1", "mimeType": "text/markdown", "text": "# Milk\n\ntwo\n"}}
			if !reflect.DeepEqual(r["contents"], want) || (r["ttlMs"] != nil) != (era == "modern") {
				t.Errorf("%s: read %v", era, r)
			}
			templates, _ := p.ok("resources/templates/list", "")["resourceTemplates"].([]any)
			if len(templates) != 1 || templates[0].(map[string]any)["uriTemplate"] != "notes://{id}" {
				t.Errorf("%s: templates %v", era, templates)
			}
		})
	}
}

func TestLongListsComeInPages(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{}`)
		for range 2*pageSize + 1 {
			p.call("add_note", `{"title":"n"}`)
		}
		var sizes []int
		seen := map[any]bool{}
		for params := `{}`; ; {
			r := p.ok("resources/list", params)
			page, _ := r["resources"].([]any)
			sizes = append(sizes, len(page))
			for _, e := range page {
				seen[e.(map[string]any)["uri"]] = true
			}
			if r["nextCursor"] == nil {
				break
			}
			params = fmt.Sprintf(`{"cursor":%q}`, r["nextCursor"])
		}
		if !slices.Equal(sizes, []int{100, 100, 1}) || len(seen) != 201 {
			t.Errorf("pages of %v with %d different notes", sizes, len(seen))
		}
	})
}

func TestAListenHearsWhatItAskedForAndNothingElse(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{}`).call("add_note", `{"title":"a"}`)
		p.call("add_note", `{"title":"b"}`)
		if heard := p.methods(); len(heard) != 0 {
			t.Errorf("heard %v before listening", heard)
		}
	})
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{}`).call("add_note", `{"title":"a"}`)
		p.call("add_note", `{"title":"b"}`)
		p.send(`{"jsonrpc":"2.0","id":"L","method":"subscriptions/listen","params":{"_meta":{` + p.meta + `},` +
			`"notifications":{"toolsListChanged":true,"resourcesListChanged":true,"resourceSubscriptions":["notes://1"]}}}`)
		ack := p.next()
		want := `{"_meta":{"io.modelcontextprotocol/subscriptionId":"L"},"notifications":{"resourcesListChanged":true,"resourceSubscriptions":["notes://1"]}}`
		if ack.Method != "notifications/subscriptions/acknowledged" || string(ack.Params) != want {
			t.Errorf("acknowledged with %s %s", ack.Method, ack.Params)
		}
		p.call("edit_note", `{"id":1,"text":"x"}`)
		p.call("edit_note", `{"id":2,"text":"x"}`)
		p.call("delete_note", `{"id":2}`)
		var got []string
		p.methods()
		for range 2 {
			p.call("edit_note", `{"id":1,"text":"y"}`)
		}
		for _, m := range p.heard {
			got = append(got, string(m.Params))
		}
		updated := `{"_meta":{"io.modelcontextprotocol/subscriptionId":"L"},"uri":"notes://1"}`
		if !slices.Equal(got, []string{updated, updated}) {
			t.Errorf("heard %q", got)
		}
		p.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"L"}}`)
		synctest.Wait()
		p.methods()
		p.call("edit_note", `{"id":1,"text":"z"}`)
		if heard := p.methods(); len(heard) != 0 {
			t.Errorf("heard %v after the listen was cancelled", heard)
		}
	})
}

func TestChangesOfTheListReachAListen(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{}`).begin("subscriptions/listen", `{"notifications":{"resourcesListChanged":true}}`)
		p.next()
		p.call("add_note", `{"title":"a"}`)
		p.call("edit_note", `{"id":1,"text":"x"}`)
		p.call("edit_note", `{"id":1,"title":"b"}`)
		p.call("delete_note", `{"id":1}`)
		const changed = "notifications/resources/list_changed"
		if heard := p.methods(); !slices.Equal(heard, []string{changed, changed, changed}) {
			t.Errorf("heard %v", heard)
		}
	})
	inBubble(t, "notes", Options{}, func(p *peer) {
		if e := p.modern(`{}`).fails("subscriptions/listen", `{"notifications":{"resourceSubscriptions":[`+
			strings.Repeat(`"a",`, maxWatched)+`"a"]}}`); e.Code != wire.CodeInvalidParams {
			t.Errorf("too many: %v", e)
		}
	})
}

func TestALegacyClientHearsChangesOfTheListAndOfWhatItSubscribedTo(t *testing.T) {
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.legacy("2025-06-18", `{}`).call("add_note", `{"title":"a"}`)
		p.call("add_note", `{"title":"b"}`)
		p.ok("resources/subscribe", `{"uri":"notes://1"}`)
		p.call("edit_note", `{"id":1,"text":"x"}`)
		p.call("edit_note", `{"id":2,"text":"x"}`)
		p.ok("resources/unsubscribe", `{"uri":"notes://1"}`)
		p.call("edit_note", `{"id":1,"text":"y"}`)
		want := []string{"notifications/resources/list_changed", "notifications/resources/list_changed", "notifications/resources/updated"}
		if heard := p.methods(); !slices.Equal(heard, want) {
			t.Errorf("heard %v", heard)
		}
	})
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.legacy("2025-06-18", `{}`)
		for i := range maxWatched + 1 {
			p.call("add_note", `{"title":"n"}`)
			m := p.ask("resources/subscribe", fmt.Sprintf(`{"uri":"notes://%d"}`, i+1))
			if (m.Error != nil) != (i == maxWatched) {
				t.Errorf("subscription %d: %s", i+1, m.Error)
			}
		}
	})
}

func TestLogMessagesComeFromTheLevelThatWasAskedFor(t *testing.T) {
	const message = "notifications/message"
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.legacy("2025-11-25", `{}`).call("add_note", `{"title":"a"}`)
		p.ok("logging/setLevel", `{"level":"info"}`)
		p.call("add_note", `{"title":"b"}`)
		p.ok("logging/setLevel", `{"level":"warning"}`)
		p.call("add_note", `{"title":"c"}`)
		logs := slices.DeleteFunc(p.methods(), func(m string) bool { return m != message })
		if len(logs) != 1 {
			t.Errorf("heard %v", logs)
		}
	})
	inBubble(t, "notes", Options{}, func(p *peer) {
		p.modern(`{}`)
		p.ok("tools/call", `{"name":"add_note","arguments":{"title":"a"},"_meta":{`+p.meta+`,"io.modelcontextprotocol/logLevel":"debug"}}`)
		p.call("add_note", `{"title":"b"}`)
		if heard := p.methods(); !slices.Equal(heard, []string{message}) {
			t.Errorf("heard %v", heard)
		}
	})
}

func TestThePromptAndItsCompletion(t *testing.T) {
	for era, client := range clients {
		inBubble(t, "notes", Options{}, func(p *peer) {
			client(p)
			p.call("add_note", `{"title":"Milk","tags":["shop","soon"]}`)
			p.call("add_note", `{"title":"Ann","tags":["call"]}`)
			listed, _ := p.ok("prompts/list", "")["prompts"].([]any)
			if len(listed) != 1 || listed[0].(map[string]any)["name"] != "review_notes" {
				t.Errorf("%s: listed %v", era, listed)
			}
			r := p.ok("prompts/get", `{"name":"review_notes","arguments":{"tag":"call","focus":"deadlines"}}`)
			if text := fmt.Sprint(r["messages"]); !strings.Contains(text, "# Ann") || strings.Contains(text, "Milk") || !strings.Contains(text, "deadlines") {
				t.Errorf("%s: %v", era, r)
			}
			for params, want := range map[string]string{
				`{"ref":{"type":"ref/prompt","name":"review_notes"},"argument":{"name":"tag","value":"s"}}`:   "[shop soon]",
				`{"ref":{"type":"ref/prompt","name":"review_notes"},"argument":{"name":"focus","value":"s"}}`: "[]",
				`{"ref":{"type":"ref/resource","uri":"notes://{id}"},"argument":{"name":"id","value":""}}`:    "[1 2]",
			} {
				r := p.ok("completion/complete", params)
				c, _ := r["completion"].(map[string]any)
				if got := fmt.Sprint(c["values"]); got != want || c["hasMore"] != false {
					t.Errorf("%s: %s: %v, want %s", era, params, c, want)
				}
			}
		})
	}
}
