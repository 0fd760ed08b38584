package upstream

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/upstreamtest"
)

func TestQuestionsAreReadInTheServersOrder(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	res, err := d.Do(t.Context(), tool(t, d.Conn, "raw", `{"result":{"resultType":"input_required","inputRequests":{
		"z":{"method":"roots/list"},"a":{"method":"elicitation/create","params":{"n":1.0}},"m\u00e9":{"method":"sampling/createMessage","params":{}}}}}`), nil)
	if err != nil || res.Input == nil {
		t.Fatal(res, err)
	}
	var got []string
	for _, q := range res.Input.Questions {
		got = append(got, q.Key+" "+q.Method+" "+string(q.Params))
	}
	if want := []string{"z roots/list ", `a elicitation/create {"n":1.0}`, "mé sampling/createMessage {}"}; !slices.Equal(got, want) || res.Input.State != nil {
		t.Errorf("got %q, state %s", got, res.Input.State)
	}
	res, err = d.Do(t.Context(), tool(t, d.Conn, "raw", `{"result":{"resultType":"input_required","requestState":"later"}}`), nil)
	if err != nil || res.Input == nil || string(res.Input.State) != `"later"` || len(res.Input.Questions) != 0 {
		t.Errorf("got %+v, %v", res.Input, err)
	}
}

func TestQuestionsThatMakeNoSenseFailTheCall(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	many := strings.TrimSuffix(strings.Repeat(`"q%d":{"method":"roots/list"},`, maxQuestions+1), ",")
	numbers := make([]any, maxQuestions+1)
	for i := range numbers {
		numbers[i] = i
	}
	for name, result := range map[string]string{
		"nothing asked":      `{"resultType":"input_required"}`,
		"an empty object":    `{"resultType":"input_required","inputRequests":{}}`,
		"no object":          `{"resultType":"input_required","inputRequests":["a"]}`,
		"a question in text": `{"resultType":"input_required","inputRequests":{"a":"what?"}}`,
		"far too many":       fmt.Sprintf(`{"resultType":"input_required","inputRequests":{`+many+`}}`, numbers...),
		"two types":          `{"resultType":"complete","resultType":"input_required"}`,
		"not an object":      `7`,
	} {
		if _, err := d.Do(t.Context(), tool(t, d.Conn, "raw", `{"result":`+result+`}`), nil); jackfield.CodeOf(err) != jackfield.Unavailable {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if d.Err() != nil {
		t.Errorf("the connection is dead: %v", d.Err())
	}
}

func TestAResultOfAnUnknownTypePassesUntouched(t *testing.T) {
	d := patch(t, upstreamtest.New(t, upstreamtest.Script{}))
	const odd = `{"resultType":"vendor/odd","odd":{"id":"7","n":9007199254740993}}`
	if got := d.call(t, "raw", `{"result":`+odd+`}`); got != odd {
		t.Errorf("got %s", got)
	}
}
