package credentials

import (
	"hash/maphash"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// Options are what Credentials need from the other rooms.
type Options struct {
	Writer record.Writer
	Seal   record.Sealer
	// Person finds who somebody is. It has taken a batch before Take is given it.
	// nil: nothing is known of anybody but the subject.
	Person func(subject string) (Person, bool)
	HTTP   *http.Client                // reaches Vault; nil: http.DefaultClient
	Env    func(string) (string, bool) // where VAULT_ADDR and the like are; nil: the environment
	Log    *slog.Logger
}

// Person is what servers may be told of somebody.
type Person struct {
	ID, Name, Email string
	Teams           []string // sorted
	Revision        uint64   // grows when something of it changes
}

// Changed says whose credential version grew.
type Changed struct {
	Server jackfield.ServerID // empty: every server's
	Owner  jackfield.Scope    // the app's: everybody's
}

// shards is how many parts the people are kept in. A change copies one part.
const shards = 1024

// Credentials are safe for use by many goroutines. Version takes no lock. Endpoint and
// Headers wait only for a secret which nobody has read yet.
type Credentials struct {
	o       Options
	seed    maphash.Seed
	people  [shards]atomic.Pointer[map[string]person] // by subject; never changed, but replaced
	open    open
	secrets *secrets

	mu    sync.Mutex        // one Take at a time, and guards what follows
	begun bool              // something was taken
	keyed map[string]string // whom the API keys are for that bring teams with them
}

// New makes Credentials that know of nobody yet.
func New(o Options) *Credentials {
	if o.Person == nil {
		o.Person = func(string) (Person, bool) { return Person{}, false }
	}
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Credentials{o: o, seed: maphash.MakeSeed(), secrets: newSecrets(o), keyed: map[string]string{}}
}

// Version is the credential version of a server for an owner: the sum of the numbers
// of what it depends on, of which each only grows. The numbers are those of the
// store's log, and a count of the changes of secrets in this process.
func (c *Credentials) Version(id jackfield.ServerID, owner jackfield.Scope) uint64 {
	version := c.secrets.version(id)
	if owner.Kind != jackfield.ScopeUser {
		return version
	}
	p := c.person(owner.ID)
	return version + p.version + p.mine.version(id)
}

func (c *Credentials) person(subject string) person {
	if people := c.people[c.shard(subject)].Load(); people != nil {
		return (*people)[subject]
	}
	return person{}
}

func (c *Credentials) shard(subject string) int {
	return int(maphash.String(c.seed, subject) % shards)
}
