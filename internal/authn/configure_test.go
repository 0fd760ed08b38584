package authn

import (
	"net/http"
	"slices"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func TestAConfigurationThatChangesTakesKeysAway(t *testing.T) {
	make := func(name, role string, teams ...string) (FileKey, jackfield.Secret) {
		text, _, hash := NewKey()
		return FileKey{Name: name, Hash: hash, User: name, Role: jackfield.Role(role), Teams: teams}, text
	}
	stays, staysText := make("stays", "")
	goes, goesText := make("goes", "")
	falls, _ := make("falls", "admin", "a", "b")
	other, _ := make("other", "")
	d := New(Options{Keys: []FileKey{stays, goes, falls, other}})
	as := func(text jackfield.Secret) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+text.Reveal())
		_, err = d.Authenticate(r)
		return err
	}
	has := func() (out []string) {
		for _, team := range []string{"a", "b", "c"} {
			if d.HasTeam(team) {
				out = append(out, team)
			}
		}
		return out
	}
	if got := has(); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
	falls.Role, falls.Teams = "editor", []string{"a"}
	replaced, replacedText := make("other", "")
	added, addedText := make("new", "")
	lost := d.Configure([]FileKey{added, replaced, stays, falls})

	if got := has(); !slices.Equal(got, []string{"a"}) {
		t.Error(got)
	}
	var who []string
	for _, l := range lost {
		who = append(who, l.Credential)
		if l.Reason == "" || l.Subject != l.Credential[len(filePrefix):] {
			t.Errorf("%+v", l)
		}
	}
	slices.Sort(who)
	if want := []string{"file:falls", "file:goes", "file:other"}; !slices.Equal(who, want) {
		t.Errorf("%q lost something, not %q", who, want)
	}
	for _, text := range []jackfield.Secret{staysText, replacedText, addedText} {
		if err := as(text); err != nil {
			t.Error(err)
		}
	}
	if as(goesText) == nil {
		t.Error("a key that is gone lets somebody in")
	}
	if lost := d.Configure([]FileKey{added, replaced, stays, falls}); len(lost) != 0 {
		t.Errorf("nothing changed, and %+v", lost)
	}
}
