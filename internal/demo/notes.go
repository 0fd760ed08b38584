package demo

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxNotes    = 1000
	maxNote     = 64 << 10 // bytes of a note's text
	maxTitle    = 200      // bytes
	maxTags     = 10
	maxTag      = 40  // bytes
	longestStep = 2.0 // seconds that export_notes may take for a note
)

// note is one note. Notes are values: an edit replaces the whole note.
type note struct {
	ID    int       `json:"id"`
	Title string    `json:"title"`
	Text  string    `json:"text"`
	Tags  []string  `json:"tags"`
	Added time.Time `json:"added"`
}

func (n note) uri() string { return "notes://" + strconv.Itoa(n.ID) }

func (n note) markdown() string {
	s := "# " + n.Title + "\n\n" + n.Text + "\n"
	if len(n.Tags) > 0 {
		s += "\nTags: " + strings.Join(n.Tags, ", ") + "\n"
	}
	return s
}

func (n note) link() object {
	return object{
		"type": "resource_link", "uri": n.uri(), "name": n.Title, "mimeType": "text/markdown",
	}
}

// board holds the notes, for as long as the process runs.
type board struct {
	key [32]byte // signs the states of questions; as old as the process

	mu       sync.Mutex // guards what follows
	notes    []note     // by ID
	lastID   int
	revision int // grows with every change
}

func notesOffer() *offer {
	b := &board{}
	_, _ = rand.Read(b.key[:]) // never fails
	return &offer{
		name:        "notes",
		title:       "Notes",
		description: "A notepad in memory: add, search, edit and export notes, also readable as resources",
		instructions: "Keep short notes for the person here when asked to remember something for later. " +
			"Notes live in memory: they are gone when the server stops.",
		tools: []tool{
			define("add_note", "Add a note", "Adds a note and returns its number and its resource link.",
				hints{changes: true}, b.add),
			define("list_notes", "List notes", "Lists the notes, oldest first, or only those with a tag or with some text in them.",
				hints{}, b.list),
			define("read_note", "Read a note", "Returns one note with its full text.", hints{}, b.readNote),
			define("edit_note", "Edit a note", "Changes the title, the text or the tags of a note; what is left out stays.",
				hints{changes: true, destructive: true, repeatable: true}, b.edit),
			define("delete_note", "Delete a note", "Deletes one note for good.",
				hints{changes: true, destructive: true}, b.remove),
			define("clear_notes", "Delete all notes", "Deletes all notes for good, after the person has confirmed it.",
				hints{changes: true, destructive: true, repeatable: true}, b.clear),
			define("export_notes", "Export notes", "Writes all notes into one Markdown document, and reports progress on the way.",
				hints{}, b.export),
		},
		prompts:   []prompt{b.reviewPrompt()},
		resources: b.resources,
		templates: []object{{
			"uriTemplate": "notes://{id}", "name": "note", "title": "One note",
			"description": "A note by its number", "mimeType": "text/markdown",
		}},
		read:     b.read,
		complete: b.complete,
	}
}

// all is a snapshot of the notes.
func (b *board) all() []note {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.notes)
}

func (b *board) find(id int) (note, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := b.indexLocked(id); i >= 0 {
		return b.notes[i], true
	}
	return note{}, false
}

func (b *board) indexLocked(id int) int {
	return slices.IndexFunc(b.notes, func(n note) bool { return n.ID == id })
}

func notesText(n int) string {
	if n == 1 {
		return "1 note"
	}
	return fmt.Sprintf("%d notes", n)
}

func noNote(id int) error {
	return fmt.Errorf("there is no note %d: list_notes tells the numbers", id)
}

func checkNote(title, text string, tags []string) error {
	switch {
	case strings.TrimSpace(title) == "":
		return errors.New("a note needs a title")
	case len(title) > maxTitle:
		return fmt.Errorf("the title has %d bytes, more than the %d that are allowed", len(title), maxTitle)
	case len(text) > maxNote:
		return fmt.Errorf("the text has %d bytes, more than the %d that are allowed", len(text), maxNote)
	case len(tags) > maxTags:
		return fmt.Errorf("a note has at most %d tags", maxTags)
	}
	for _, t := range tags {
		if t == "" || len(t) > maxTag {
			return fmt.Errorf("a tag has 1 to %d bytes", maxTag)
		}
	}
	return nil
}

type addNoteIn struct {
	Title string   `json:"title"`
	Text  string   `json:"text,omitempty" jsonschema:"Markdown"`
	Tags  []string `json:"tags,omitempty"`
}

func noteReply(verb string, n note) reply[note] {
	return reply[note]{text: fmt.Sprintf("%s note %d: %s", verb, n.ID, n.Title), data: n, links: []object{n.link()}}
}

func (b *board) add(ctx context.Context, k *call, in addNoteIn) (reply[note], error) {
	if err := checkNote(in.Title, in.Text, in.Tags); err != nil {
		return reply[note]{}, err
	}
	b.mu.Lock()
	if len(b.notes) >= maxNotes {
		b.mu.Unlock()
		return reply[note]{}, fmt.Errorf("there are %d notes already, no more fit: delete some", maxNotes)
	}
	b.lastID++
	b.revision++
	n := note{ID: b.lastID, Title: in.Title, Text: in.Text, Tags: append([]string{}, in.Tags...), Added: time.Now().UTC().Truncate(time.Second)}
	b.notes = append(b.notes, n)
	b.mu.Unlock()
	k.log(ctx, "info", fmt.Sprintf("note %d added", n.ID))
	k.changed(ctx, n.uri(), true)
	return noteReply("Added", n), nil
}

type listNotesIn struct {
	Tag   string `json:"tag,omitempty" jsonschema:"only notes with this tag"`
	Query string `json:"query,omitempty" jsonschema:"only notes with this text in them, in any case"`
}

type listNotesOut struct {
	Notes []listedNote `json:"notes"`
}

// listedNote is a note without its text.
type listedNote struct {
	ID    int      `json:"id"`
	Title string   `json:"title"`
	Tags  []string `json:"tags"`
	URI   string   `json:"uri"`
}

func (b *board) list(_ context.Context, _ *call, in listNotesIn) (reply[listNotesOut], error) {
	out := listNotesOut{Notes: []listedNote{}}
	var text strings.Builder
	query := strings.ToLower(in.Query)
	for _, n := range b.all() {
		if in.Tag != "" && !slices.Contains(n.Tags, in.Tag) ||
			!strings.Contains(strings.ToLower(n.Title+"\n"+n.Text), query) {
			continue
		}
		out.Notes = append(out.Notes, listedNote{ID: n.ID, Title: n.Title, Tags: n.Tags, URI: n.uri()})
		fmt.Fprintf(&text, "%d. %s", n.ID, n.Title)
		if len(n.Tags) > 0 {
			fmt.Fprintf(&text, " [%s]", strings.Join(n.Tags, ", "))
		}
		text.WriteByte('\n')
	}
	if len(out.Notes) == 0 {
		text.WriteString("no notes")
	}
	return reply[listNotesOut]{text: strings.TrimSuffix(text.String(), "\n"), data: out}, nil
}

type noteIn struct {
	ID int `json:"id" jsonschema:"the number of the note"`
}

func (b *board) readNote(_ context.Context, _ *call, in noteIn) (reply[note], error) {
	n, ok := b.find(in.ID)
	if !ok {
		return reply[note]{}, noNote(in.ID)
	}
	return reply[note]{text: n.markdown(), data: n}, nil
}

type editNoteIn struct {
	ID    int       `json:"id" jsonschema:"the number of the note"`
	Title *string   `json:"title,omitempty"`
	Text  *string   `json:"text,omitempty" jsonschema:"Markdown"`
	Tags  *[]string `json:"tags,omitempty"`
}

func (b *board) edit(ctx context.Context, k *call, in editNoteIn) (reply[note], error) {
	n, err := b.replace(in)
	if err != nil {
		return reply[note]{}, err
	}
	k.log(ctx, "info", fmt.Sprintf("note %d edited", n.ID))
	k.changed(ctx, n.uri(), false)
	if in.Title != nil {
		k.changed(ctx, n.uri(), true) // titles stand in the list
	}
	return noteReply("Edited", n), nil
}

func (b *board) replace(in editNoteIn) (note, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.indexLocked(in.ID)
	if i < 0 {
		return note{}, noNote(in.ID)
	}
	n := b.notes[i]
	if in.Title != nil {
		n.Title = *in.Title
	}
	if in.Text != nil {
		n.Text = *in.Text
	}
	if in.Tags != nil {
		n.Tags = append([]string{}, *in.Tags...)
	}
	if err := checkNote(n.Title, n.Text, n.Tags); err != nil {
		return note{}, err
	}
	b.notes[i] = n
	b.revision++
	return n, nil
}

type deletedOut struct {
	Deleted int `json:"deleted" jsonschema:"how many notes were deleted"`
}

func (b *board) remove(ctx context.Context, k *call, in noteIn) (reply[deletedOut], error) {
	b.mu.Lock()
	i := b.indexLocked(in.ID)
	if i < 0 {
		b.mu.Unlock()
		return reply[deletedOut]{}, noNote(in.ID)
	}
	n := b.notes[i]
	b.notes = slices.Delete(b.notes, i, i+1)
	b.revision++
	b.mu.Unlock()
	k.log(ctx, "info", fmt.Sprintf("note %d deleted", n.ID))
	k.changed(ctx, n.uri(), true)
	return reply[deletedOut]{text: fmt.Sprintf("Deleted note %d: %s", n.ID, n.Title), data: deletedOut{Deleted: 1}}, nil
}

type clearNotesIn struct {
	Confirm bool `json:"confirm,omitempty" jsonschema:"the person has confirmed already, do not ask again" default:"false"`
}

func (b *board) clear(ctx context.Context, k *call, in clearNotesIn) (reply[deletedOut], error) {
	b.mu.Lock()
	n, revision := len(b.notes), b.revision
	b.mu.Unlock()
	if n == 0 {
		return reply[deletedOut]{text: "There are no notes to delete", data: deletedOut{}}, nil
	}
	if !in.Confirm {
		// The state ties a yes to the notes that it was said about.
		yes, err := k.confirm(ctx, "confirm", fmt.Sprintf("Delete %s for good?", notesText(n)), b.state(revision))
		switch {
		case errors.Is(err, errCannotAsk):
			return reply[deletedOut]{}, fmt.Errorf("%w: ask the person, and if the answer is yes call clear_notes with confirm: true", err)
		case err != nil:
			return reply[deletedOut]{}, err
		case !yes:
			return reply[deletedOut]{text: "Not confirmed: nothing was deleted", data: deletedOut{}}, nil
		}
	}
	b.mu.Lock()
	if b.revision != revision {
		b.mu.Unlock()
		return reply[deletedOut]{}, errors.New("the notes changed in the meantime, nothing was deleted: call clear_notes again")
	}
	b.notes = nil
	b.revision++
	b.mu.Unlock()
	k.log(ctx, "notice", "all notes deleted")
	k.changed(ctx, "", true)
	return reply[deletedOut]{text: "Deleted " + notesText(n), data: deletedOut{Deleted: n}}, nil
}

// state is what a client has to bring back with its yes.
func (b *board) state(revision int) string {
	mac := hmac.New(sha256.New, b.key[:])
	fmt.Fprintf(mac, "clear %d", revision)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

type exportNotesIn struct {
	Seconds *float64 `json:"seconds,omitempty" jsonschema:"how long to take for each note, at most 2; something to watch progress by" default:"0.2"`
}

type exportNotesOut struct {
	Notes    int    `json:"notes" jsonschema:"how many notes the document holds"`
	Markdown string `json:"markdown"`
}

func (b *board) export(ctx context.Context, k *call, in exportNotesIn) (reply[exportNotesOut], error) {
	seconds := 0.2
	if in.Seconds != nil {
		seconds = *in.Seconds
	}
	if seconds < 0 || seconds > longestStep {
		return reply[exportNotesOut]{}, fmt.Errorf("seconds is %v, but must be between 0 and %v", seconds, longestStep)
	}
	all := b.all()
	var document strings.Builder
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for i, n := range all {
		k.progress(ctx, i, len(all), "writing "+n.Title)
		timer.Reset(time.Duration(seconds * float64(time.Second)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return reply[exportNotesOut]{}, ctx.Err()
		}
		if i > 0 {
			document.WriteByte('\n')
		}
		document.WriteString(n.markdown())
		if document.Len() > maxText {
			return reply[exportNotesOut]{}, fmt.Errorf("the document grew beyond %d bytes: delete some notes", maxText)
		}
	}
	k.progress(ctx, len(all), len(all), "done")
	text := document.String()
	if text == "" {
		text = "no notes"
	}
	return reply[exportNotesOut]{text: text, data: exportNotesOut{Notes: len(all), Markdown: document.String()}}, nil
}

func (b *board) resources() []object {
	all := b.all()
	listed := make([]object, 0, len(all))
	for _, n := range all {
		listed = append(listed, object{
			"uri": n.uri(), "name": "note-" + strconv.Itoa(n.ID), "title": n.Title, "mimeType": "text/markdown",
			"size": len(n.markdown()), "annotations": object{"lastModified": n.Added.Format(time.RFC3339)},
		})
	}
	return listed
}

func (b *board) read(uri string) (object, bool) {
	digits, ok := strings.CutPrefix(uri, "notes://")
	id, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return nil, false
	}
	n, ok := b.find(id)
	if !ok || n.uri() != uri {
		return nil, false
	}
	return object{"uri": uri, "mimeType": "text/markdown", "text": n.markdown()}, true
}

func (b *board) reviewPrompt() prompt {
	const name = "review_notes"
	return prompt{
		name: name,
		entry: object{
			"name": name, "title": "Review notes",
			"description": "Asks the model to go through the notes: what is done, what is open, what belongs together",
			"arguments": []object{
				{"name": "tag", "description": "only notes with this tag", "required": false},
				{"name": "focus", "description": "what to look out for", "required": false},
			},
		},
		get: func(args map[string]string) (object, error) {
			var text strings.Builder
			text.WriteString("Go through these notes. Say what is done, what is still open and what belongs together.")
			if args["focus"] != "" {
				text.WriteString(" Look out for " + args["focus"] + ".")
			}
			found := 0
			for _, n := range b.all() {
				if args["tag"] == "" || slices.Contains(n.Tags, args["tag"]) {
					text.WriteString("\n\n" + n.markdown())
					found++
				}
			}
			if found == 0 {
				return nil, invalid("there are no notes to review: add one first, or leave the tag out")
			}
			return object{
				"description": "A review of " + notesText(found),
				"messages":    []object{{"role": "user", "content": object{"type": "text", "text": text.String()}}},
			}, nil
		},
	}
}

// complete knows the tags in use, for the prompt, and the numbers of notes, for
// the template.
func (b *board) complete(r reference, a argument) []string {
	var values []string
	for _, n := range b.all() {
		switch {
		case r.Type == "ref/prompt" && a.Name == "tag":
			values = append(values, n.Tags...)
		case r.Type == "ref/resource" && a.Name == "id":
			values = append(values, strconv.Itoa(n.ID))
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}
