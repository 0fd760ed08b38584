package registry

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

func TestChangesAreToldByTheIDsThatTakeEffect(t *testing.T) {
	r, m := stored(t)
	data := jackfield.Team("data")
	expect := func(what string, got Change, want string) {
		t.Helper()
		if text := fmt.Sprint(got.Added, got.Removed, got.Redial, got.Edited); text != want {
			t.Errorf("%s: got %s, want %s", what, text, want)
		}
	}
	expect("the file", apply(t, r, file(t, `{"f":{"url":"https://f.test"}}`)...), "[f] [] [] []")
	put(t, r, root, jackfield.App(), "a", `{"url":"https://a.test"}`)
	expect("a new one", m.last, "[app/a] [] [] []")
	put(t, r, edna, data, "a", `{"extends":true,"title":"x"}`)
	expect("an overlay", m.last, "[team:data/a] [] [] []")
	put(t, r, root, jackfield.App(), "a", `{"url":"https://b.test"}`)
	expect("its base's address", m.last, "[] [] [app/a team:data/a] []")
	put(t, r, root, jackfield.App(), "a", `{"url":"https://b.test","title":"x"}`)
	expect("its base's title", m.last, "[] [] [] [app/a team:data/a]")
	put(t, r, edna, data, "a", `{"extends":true,"enabled":false}`)
	expect("it hides", m.last, "[] [team:data/a] [] []")
	put(t, r, edna, data, "a", `{"extends":true,"title":"y"}`)
	expect("it hides no more", m.last, "[team:data/a] [] [] []")
	put(t, r, edna, data, "f", `{"extends":true,"headers":{"X":"1"}}`)
	before, _ := r.Find(ann, "f")
	expect("the file's address", apply(t, r, file(t, `{"f":{"url":"https://f.test/2"}}`)...), "[] [] [f team:data/f] []")
	after, _ := r.Find(ann, "f")
	if after.Version <= before.Version || after.Revision <= before.Revision || after.Endpoint.URL != "https://f.test/2" {
		t.Errorf("%+v", after)
	}
	expect("the same file", apply(t, r, file(t, `{"f":{"url":"https://f.test/2"}}`)...), "[] [] [] []")
	expect("the file has the overlay now", apply(t, r, file(t, `{"f":{"url":"https://f.test/2","overlays":{"data":{"title":"z"}}}}`)...), "[] [] [team:data/f] []")
	if now, _ := r.Find(ann, "f"); now.Version <= after.Version || now.About.Title != "z" {
		t.Errorf("%+v", now)
	}
	apply(t, r)
	expect("the file is empty", r.Take(record.Batch{}), "[] [] [] []")
	if got := see(r, ann); got != "team:data/a" {
		t.Error(got)
	}
	put(t, r, root, jackfield.App(), "f", `{"url":"https://f.test"}`)
	last, _ := r.Find(ann, "f")
	if last.ID != "team:data/f" || last.Version <= after.Version {
		t.Errorf("over another base: %d after %d", last.Version, after.Version)
	}
	if err := r.Remove(t.Context(), edna, data, "a", Condition{Anyway: true}); err != nil {
		t.Fatal(err)
	}
	expect("the overlay goes", m.last, "[] [team:data/a] [] []")
	if got := see(r, ann); got != "app/a team:data/f" {
		t.Error(got)
	}
	rest := m.all()
	rest.Records = slices.DeleteFunc(rest.Records, func(rec record.Record) bool { return rec.ID != "app/a" })
	expect("all that there is", r.Take(rest), "[] [app/f team:data/f] [] []")
}

func TestACounterOfAnOverlayNeverGoesBack(t *testing.T) {
	r, _ := stored(t)
	for i := range 40 { // the file's counter runs ahead
		apply(t, r, file(t, fmt.Sprintf(`{"x":{"url":"https://f%d.test"}}`, i))...)
	}
	put(t, r, edna, jackfield.Team("data"), "x", `{"extends":true,"title":"t"}`)
	high, _ := r.Find(ann, "x")
	if err := r.Remove(t.Context(), edna, jackfield.Team("data"), "x", Condition{Anyway: true}); err != nil {
		t.Fatal(err)
	}
	apply(t, r)
	put(t, r, root, jackfield.App(), "x", `{"url":"https://a.test"}`)
	put(t, r, edna, jackfield.Team("data"), "x", `{"extends":true,"title":"t"}`)
	if s, _ := r.Find(ann, "x"); s.Version <= high.Version || s.Revision <= high.Revision {
		t.Errorf("%d after %d", s.Version, high.Version)
	}
}
