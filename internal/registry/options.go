package registry

import (
	"net/url"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/record"
)

// sealedText stands in a document where a secret is.
const sealedText = "[sealed]"

// Options are what a Registry is made of. The zero value has no store, lets everybody
// see what is in their scopes, and knows no address that may not be named.
type Options struct {
	Writer record.Writer // nil: nothing can be written
	Seal   record.Sealer // nil: no definition can hold a secret
	// Decide is whether somebody may see a server of a scope of theirs, and which of
	// its tools. It must answer alike for all who have the same teams, role and names
	// that a credential is for, unless a rule of a server names them.
	Decide func(p jackfield.Principal, s *jackfield.Server) (jackfield.Access, jackfield.ToolFilter)
	// Loops is whether an address is the gateway's own. It is asked with the address as
	// Normal makes it, as is Allowed.
	Loops func(*url.URL) bool
	// Allowed is why an address may not be named in a definition that is not the
	// operator's.
	Allowed func(*url.URL) error
	// Team is whether anybody could be in a team: it has a record, or a key names it.
	// Nil: they all may be.
	Team func(id string) bool
	// Lookup and Dir are what a Source has, for definitions of the store that whoever
	// runs the gateway wrote.
	Lookup func(name string) (string, bool)
	Dir    string
}
