package tenants

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/jackfield-dev/jackfield/internal/api"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

// TestWhatOnesOwnKeyListsIsToldToNobodyElse: how many tools a server has for somebody,
// and why it has none, depends on the key of whoever asks.
func TestWhatOnesOwnKeyListsIsToldToNobodyElse(t *testing.T) {
	s := upstreamtest.New(t, upstreamtest.Script{Token: "the key of bob"})
	h := open(t, fmt.Sprintf(`mcpServers:
  own: {url: %q, headers: {Authorization: "Bearer {{var.KEY}}"}, vars: {KEY: {title: Key}}}
`, s.Endpoint().URL), member{subject: "ann"}, member{subject: "bob"}, member{subject: "eve"}, member{subject: "root", role: "admin"})
	h.must("ann", http.MethodPut, "/servers/own/variables/KEY", "", `{"value":"a wrong key"}`)
	h.must("bob", http.MethodPut, "/servers/own/variables/KEY", "", `{"value":"the key of bob"}`)
	h.sees(t.Context(), "ann", "own") // hers comes first in the catalog, and fails
	if !h.sees(t.Context(), "bob", "own") {
		t.Fatal("bob's key lists nothing")
	}
	told := func(who, query string) (tools int, why string) {
		var list api.ListingList
		if err := json.Unmarshal([]byte(h.must(who, http.MethodGet, "/listings?kind=tools", "", nil)), &list); err != nil {
			t.Fatal(err)
		}
		for _, l := range list.Listings {
			tools, why = tools+l.Count, why+l.Error
		}
		var all api.ServerList
		if err := json.Unmarshal([]byte(h.must(who, http.MethodGet, "/servers"+query, "", nil)), &all); err != nil {
			t.Fatal(err)
		}
		if l := all.Servers[0].Listings["tools"]; l.Count != tools || l.Error != why {
			t.Errorf("%s: the status says %+v, the list %d %q", who, l, tools, why)
		}
		return tools, why
	}
	if tools, why := told("ann", ""); tools != 0 || why == "" {
		t.Errorf("ann: %d tools, %q", tools, why)
	}
	if tools, why := told("bob", ""); tools == 0 || why != "" {
		t.Errorf("bob: %d tools, %q", tools, why)
	}
	for who, query := range map[string]string{"eve": "", "root": "?all=true"} {
		if tools, why := told(who, query); tools != 0 || why != "" {
			t.Errorf("%s: %d tools, %q", who, tools, why)
		}
	}
}
