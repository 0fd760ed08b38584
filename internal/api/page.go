package api

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
)

// Paging is in the input of every list.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many at most"`
	Cursor string `query:"cursor" maxLength:"2048" doc:"nextCursor of the answer before"`
}

// WidePaging is in the input of the lists that today's clients read whole.
type WidePaging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"how many at most"`
	Cursor string `query:"cursor" maxLength:"2048" doc:"nextCursor of the answer before"`
}

// mark is what a cursor says: the last thing of the page before, and how many things
// came until then, for when it is not there any more.
type mark struct {
	After string `json:"a"`
	Seen  int    `json:"n,omitempty"`
}

func (m mark) cursor() string {
	b, _ := json.Marshal(m) // text and a number
	return base64.RawURLEncoding.EncodeToString(b)
}

// from is the mark of a cursor.
func from(cursor string) (mark, error) {
	var m mark
	if cursor == "" {
		return m, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil || m.After == "" || m.Seen < 0 {
		return mark{}, jackfield.Errorf(jackfield.Invalid, "the cursor is none of this API; begin without one")
	}
	return m, nil
}

// cut is the page of a list whose things have the ids that id tells, in their own
// order.
func (p Paging) cut(n int, id func(int) string) (begin, end int, next string, err error) {
	m, err := from(p.Cursor)
	if err != nil {
		return 0, 0, "", err
	}
	if p.Cursor != "" {
		begin = min(m.Seen, n)
		if begin == 0 || id(begin-1) != m.After { // the list has changed
			for i := range n {
				if id(i) == m.After {
					begin = i + 1
					break
				}
			}
		}
	}
	end = min(begin+p.Limit, n)
	if end < n {
		next = mark{After: id(end - 1), Seen: end}.cursor()
	}
	return begin, end, next, nil
}

// page is the page of things that a list in memory has.
func page[T any](p Paging, things []T, id func(*T) string) ([]T, Page, error) {
	begin, end, next, err := p.cut(len(things), func(i int) string { return id(&things[i]) })
	if err != nil {
		return nil, Page{}, err
	}
	return slices.Clip(things[begin:end]), Page{NextCursor: next}, nil
}

// schemaOf is the schema of a type, by reference.
func schemaOf[T any](a huma.API) *huma.Schema {
	return a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}
