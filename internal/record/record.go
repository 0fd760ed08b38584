// Package record has the words for what the store keeps: records, and the changes
// of them. The parts that own a kind of record know these words, and not the store.
package record

import (
	"context"
	"fmt"
	"time"

	"github.com/jackfield-dev/jackfield"
)

// Kind says what a record is of, and whose room reads it.
type Kind string

// The kinds.
const (
	Server   Kind = "server"   // a definition, an overlay included; ID is its ServerID. internal/registry
	User     Kind = "user"     // a person or program; ID is its subject. internal/authn
	Team     Kind = "team"     // ID is the team's. internal/authn
	Key      Kind = "key"      // an API key; ID is its public part. internal/authn
	Variable Kind = "variable" // what one person entered; ID is VariableID's. internal/credentials
	Setting  Kind = "setting"  // what the replicas share. app
)

// Ref names a record.
type Ref struct {
	Kind Kind
	ID   string
}

// Record is one thing that the store keeps.
type Record struct {
	Ref
	Body   []byte // JSON, with nothing secret in it
	Sealed []byte // what is secret in it, sealed and bound to Ref.Bind; nil: nothing is
	Seal   uint32 // the id of the key that it is sealed with; 0 without Sealed

	Revision uint64 // the number of the change that wrote it
	Version  uint64 // the number of the newest change that said NewVersion
	Created  time.Time
	Changed  time.Time
	By       string // the subject of whoever wrote it
}

// Bind is what a sealed part is bound to, so that it opens nowhere but in this
// record.
func (r Ref) Bind() string { return string(r.Kind) + "\x00" + r.ID }

// Write is one record to be written or removed.
type Write struct {
	Ref
	// If is the revision that the record must have now; 0: it must not be there.
	// Anyway: whatever it has, and whether or not it is there.
	If     uint64
	Anyway bool

	Remove     bool
	Body       []byte
	Sealed     []byte
	Seal       uint32
	NewVersion bool // it gets the number of this change as its Version as well; a new record always does
}

// Change is one entry of the log: a record that was written or removed. Numbers
// have no gaps.
type Change struct {
	Number uint64
	Ref
	Gone bool
	At   time.Time
	By   string
}

// Batch is news of the store, for the parts that keep records in memory. Each picks
// out the kinds that it knows.
type Batch struct {
	All     bool     // these are all that there are; nothing else exists any more
	Head    uint64   // the number of the newest change in it
	Records []Record // in no order
	Gone    []Ref
}

// Writer writes records, all that it is given or none. When it returns, every part
// of this process knows of them. The records are in the order of the writes, zero
// for those that were removed. by is the subject of whoever wants it.
type Writer interface {
	Write(ctx context.Context, by string, writes ...Write) ([]Record, error)
}

// Sealer seals and opens what is secret. internal/seal has it.
type Sealer interface {
	// Seal returns what opens with the same bind only, and the id of the key.
	Seal(bind string, plain []byte) (sealed []byte, key uint32, err error)
	Open(bind string, sealed []byte, key uint32) ([]byte, error)
}

// Conflict says that a record has another revision than the one that a Write asked
// for. It stands in the chain of a jackfield.Error with the code Conflict.
type Conflict struct {
	Ref
	Current uint64 // 0: there is no such record
}

// Error says what it has.
func (c *Conflict) Error() string {
	if c.Current == 0 {
		return fmt.Sprintf("%s %q does not exist any more", c.Kind, c.ID)
	}
	return fmt.Sprintf("%s %q was changed meanwhile: its revision is %d", c.Kind, c.ID, c.Current)
}

// AsError is the conflict with its code.
func (c *Conflict) AsError() error {
	return &jackfield.Error{Code: jackfield.Conflict, Message: c.Error(), Err: c}
}

// VariableID is the id of the record of a variable's value.
func VariableID(owner jackfield.Scope, server jackfield.ServerID, name string) string {
	return owner.String() + "\x1f" + string(server) + "\x1f" + name
}
