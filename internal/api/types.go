package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/jackfield-dev/jackfield"
)

// Problem is an error as the API answers it (RFC 9457).
type Problem struct {
	Title   string      `json:"title" doc:"the HTTP status in words"`
	Status  int         `json:"status" doc:"the HTTP status"`
	Code    string      `json:"code" doc:"what kind of error, for programs" enum:"invalid,not_found,forbidden,auth_required,conflict,unavailable,exhausted,internal"`
	Detail  string      `json:"detail" doc:"what happened and what to do about it"`
	Errors  []Violation `json:"errors,omitempty" doc:"of invalid: everything that is wrong, at once"`
	Current *uint64     `json:"current,omitempty" doc:"of 412: the revision that it has now; 0: it is not there any more"`
}

// Violation is one thing that is wrong with a request.
type Violation struct {
	Location string `json:"location,omitempty" doc:"where in the request, such as body.name or query.limit"`
	Message  string `json:"message"`
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status; huma asks for it.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457; huma asks for it.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders are those that go with the status; huma asks for them.
func (p *Problem) GetHeaders() http.Header {
	if p.Status != http.StatusUnauthorized {
		return nil
	}
	return http.Header{"Www-Authenticate": {"Bearer"}}
}

// Document is the entry of a server as its author wrote it: a JSON object as it
// stands below mcpServers in the configuration, in its own order. What is secret in
// it reads "[sealed]".
type Document []byte

// MarshalJSON is the document.
func (d Document) MarshalJSON() ([]byte, error) { return json.RawMessage(d).MarshalJSON() }

// UnmarshalJSON takes the document as it stands.
func (d *Document) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		return errors.New("a definition is an object")
	}
	*d = bytes.Clone(b)
	return nil
}

// Schema says that any object may stand here: the rules for its members are those of
// the configuration file.
func (Document) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: true,
		Description: "the entry of a server, as below mcpServers in the configuration; what is secret in it reads \"[sealed]\", and sent back so stays as it is",
	}
}

// Page is in the answer of every list.
type Page struct {
	NextCursor string `json:"nextCursor,omitempty" doc:"send it as cursor for what comes after this; absent: this is the end"`
}

// ServerList is the answer of GET /servers.
type ServerList struct {
	Servers []ServerStatus `json:"servers"`
	Page
}

// ServerStatus is what the API tells of one server.
type ServerStatus struct {
	Name        string             `json:"name"`
	ID          jackfield.ServerID `json:"id,omitempty" doc:"names the definition for as long as it exists"`
	Scope       string             `json:"scope,omitempty" doc:"whose definition it is: app, team:ID or user:SUBJECT"`
	Source      string             `json:"source,omitempty" enum:"file,store" doc:"file: the operator's configuration, which the API does not change"`
	Base        jackfield.ServerID `json:"base,omitempty" doc:"of an overlay: the definition that it is laid over"`
	ShadowedBy  jackfield.ServerID `json:"shadowedBy,omitempty" doc:"the definition of the same name that callers see instead of this"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`

	Selectable *bool   `json:"selectable,omitempty" doc:"false only when the definition cannot be used, or something is needed from the caller first; never because nothing is connected"`
	Needs      []Need  `json:"needs,omitempty" doc:"what the caller has to do before the server can be called"`
	Access     *Access `json:"access,omitempty"`

	State       string             `json:"state" enum:"ready,connecting,idle,draining,failed,invalid"`
	Stage       string             `json:"stage,omitempty" doc:"how far the state's work is, or how far it came"`
	Reason      string             `json:"reason,omitempty" doc:"why, in words for a person"`
	Since       *time.Time         `json:"since,omitempty" doc:"when it entered the state"`
	NextAttempt *time.Time         `json:"nextAttempt,omitempty" doc:"failed: no call dials before this; absent: only someone can end it"`
	Attempts    int                `json:"attempts,omitempty" doc:"failed: failures in a row"`
	Failure     *jackfield.Failure `json:"failure,omitempty" doc:"failed: the last one, for programs"`

	Era             string            `json:"era,omitempty" enum:"modern,legacy" doc:"absent: not known yet"`
	ProtocolVersion string            `json:"protocolVersion,omitempty" doc:"the revision in use; absent: not known yet"`
	Transport       string            `json:"transport" doc:"stdio, http or sse"`
	OnDemand        bool              `json:"onDemand,omitempty" doc:"listed on first use, not in the background"`
	Sharing         jackfield.Sharing `json:"sharing,omitempty" doc:"who shares a connection"`
	SharingWhy      string            `json:"sharingWhy,omitempty"`

	Connections Connections              `json:"connections"`
	Leases      int                      `json:"leases" doc:"calls and streams under way"`
	Calls       *Calls                   `json:"calls,omitempty"`
	Listings    map[string]ListingStatus `json:"listings,omitempty"`
	Warnings    []string                 `json:"warnings,omitempty"`
	Revision    uint64                   `json:"revision" doc:"of the definition; what If-Match takes where the source is the store"`
	Keys        []Key                    `json:"keys,omitempty" doc:"its connections; only of one server"`
	Definition  Document                 `json:"definition,omitempty" doc:"only of one server, for whoever may look at it"`
	ChangedAt   *time.Time               `json:"changedAt,omitempty" doc:"when the definition was written last; as definition"`
	By          string                   `json:"by,omitempty" doc:"who wrote it last; as definition"`
}

// Need is what a caller has to do before a server can be called.
type Need struct {
	Name        string `json:"name" doc:"of the variable; or user.email, team, sign-in"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Reason      string `json:"reason" doc:"why it is needed now"`
	Where       string `json:"where" doc:"where to enter it"`
}

// Access is what the caller may do with a definition.
type Access struct {
	Edit   bool   `json:"edit"`
	Reason string `json:"reason,omitempty" doc:"why not"`
}

// Calls counts the calls of a server since the gateway started.
type Calls struct {
	InFlight int64  `json:"inFlight" doc:"under way, waiting for a connection included"`
	Total    uint64 `json:"total" doc:"ended"`
	Failed   uint64 `json:"failed" doc:"of those, without a result; those that their clients cancelled are not among them"`
}

// Connections counts what the pool holds for a server.
type Connections struct {
	Ready      int `json:"ready"`
	Connecting int `json:"connecting"`
	Draining   int `json:"draining"`
	Failed     int `json:"failed"`
}

// Key is one connection, or the memory that it failed. (What a program sends to
// prove who it is, is an APIKey.)
type Key struct {
	Scope       string             `json:"scope" doc:"who holds it: app, team:ID or user:SUBJECT"`
	Isolation   string             `json:"isolation,omitempty" doc:"what divides the scope: session, call, probe, listing; absent: nothing"`
	State       string             `json:"state" enum:"ready,connecting,draining,failed,idle" doc:"idle only in an event: it was closed"`
	Stage       string             `json:"stage,omitempty"`
	Reason      string             `json:"reason,omitempty"`
	Since       *time.Time         `json:"since,omitempty"`
	NextAttempt *time.Time         `json:"nextAttempt,omitempty"`
	LastGood    *time.Time         `json:"lastGood,omitempty"`
	Attempts    int                `json:"attempts,omitempty"`
	Failure     *jackfield.Failure `json:"failure,omitempty"`
	Leases      int                `json:"leases"`
	Waiters     int                `json:"waiters"`
}

// Connection is a Key in a list of those of several servers.
type Connection struct {
	Server string             `json:"server" doc:"the server's name"`
	ID     jackfield.ServerID `json:"id" doc:"of the definition"`
	Key
}

// ConnectionList is the answer of GET /connections and /servers/{name}/connections.
type ConnectionList struct {
	Connections []Connection `json:"connections"`
	Page
}

// ListingStatus is a Listing as the API tells it.
type ListingStatus struct {
	Count        int        `json:"count"`
	FetchedAt    *time.Time `json:"fetchedAt,omitempty" doc:"absent: never"`
	AgeSeconds   *int64     `json:"ageSeconds,omitempty" doc:"absent: never"`
	Fresh        bool       `json:"fresh,omitempty" doc:"false: the next question has it listed anew"`
	Error        string     `json:"error,omitempty" doc:"why it is old: the newest attempt failed"`
	FailingSince *time.Time `json:"failingSince,omitempty" doc:"with error"`
	NextAttempt  *time.Time `json:"nextAttempt,omitempty" doc:"with error: not before this"`
	Truncated    string     `json:"truncated,omitempty"`
}

// ListingList is the answer of GET /listings.
type ListingList struct {
	Listings []ListedKind `json:"listings"`
	Page
}

// ListedKind is one kind of thing that one server lists.
type ListedKind struct {
	Server string `json:"server"`
	Kind   string `json:"kind" enum:"tools,prompts,resources,templates"`
	ListingStatus
}

// Definition is a definition as it was written, wherever it stands.
type Definition struct {
	ID         jackfield.ServerID `json:"id"`
	Scope      string             `json:"scope" doc:"app, team:ID or user:SUBJECT"`
	Name       string             `json:"name"`
	Source     string             `json:"source" enum:"file,store"`
	Revision   uint64             `json:"revision" doc:"what If-Match takes"`
	Version    uint64             `json:"version" doc:"grows when what decides a connection changes"`
	Extends    bool               `json:"extends,omitempty" doc:"it is an overlay"`
	Disabled   bool               `json:"disabled,omitempty" doc:"it is as if it were not there"`
	ShadowedBy jackfield.ServerID `json:"shadowedBy,omitempty" doc:"the definition of the same name that wins over this"`
	Editable   bool               `json:"editable,omitempty" doc:"the caller may change it"`
	CreatedAt  *time.Time         `json:"createdAt,omitempty"`
	ChangedAt  *time.Time         `json:"changedAt,omitempty"`
	By         string             `json:"by,omitempty" doc:"who wrote it last"`
	Problems   []string           `json:"problems,omitempty" doc:"what is odd about it, or why it cannot be used"`
	Definition Document           `json:"definition"`
}

// DefinitionList is the answer of GET /definitions.
type DefinitionList struct {
	Definitions []Definition `json:"definitions"`
	Page
}

// NewServer is the body of POST /servers.
type NewServer struct {
	Name       string   `json:"name" minLength:"1" maxLength:"256"`
	Scope      string   `json:"scope,omitempty" maxLength:"320" doc:"app, team:ID, user:SUBJECT or user:me; absent: app for admins, else the caller's own"`
	Definition Document `json:"definition"`
}

// EditServer is the body of PUT /servers/{name}.
type EditServer struct {
	Definition Document `json:"definition"`
}

// Variable is a variable of a server with what one person entered for it.
type Variable struct {
	Name        string     `json:"name"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Sensitive   bool       `json:"sensitive,omitempty" doc:"the value is never shown"`
	Required    bool       `json:"required,omitempty" doc:"without it nothing is sent to the server"`
	Set         bool       `json:"set"`
	ChangedAt   *time.Time `json:"changedAt,omitempty" doc:"when it was entered"`
	Value       string     `json:"value,omitempty" doc:"only when it is not sensitive"`
	Stale       string     `json:"stale,omitempty" doc:"why it has to be entered again"`
}

// VariableList is the answer of GET /servers/{name}/variables.
type VariableList struct {
	Variables []Variable `json:"variables"`
}

// NewValues is the body of PUT /servers/{name}/variables: all of them are taken or
// none.
type NewValues struct {
	Values map[string]*string `json:"values" maxProperties:"100" doc:"by the variable's name; null removes"`
}

// NewValue is the body of PUT /servers/{name}/variables/{variable}.
type NewValue struct {
	Value string `json:"value" minLength:"1" maxLength:"16384"`
}

// APIKey is what a program sends to prove who it is.
type APIKey struct { //nolint:revive // a Key is a connection
	ID        string         `json:"id" doc:"its public part; file:NAME for those of the configuration"`
	Name      string         `json:"name"`
	Source    string         `json:"source" enum:"file,store" doc:"file: the operator's configuration, which the API does not change"`
	User      string         `json:"user" doc:"who comes with it"`
	Role      jackfield.Role `json:"role,omitempty" enum:"user,editor,admin" doc:"absent: that of the user"`
	Teams     []string       `json:"teams,omitempty" doc:"besides those of the user"`
	Servers   []string       `json:"servers,omitempty" doc:"only for these, by name; absent: for all that the user sees"`
	ExpiresAt *time.Time     `json:"expiresAt,omitempty" doc:"absent: never"`
	Refused   string         `json:"refused,omitempty" doc:"why it lets nobody in now"`
	CreatedAt *time.Time     `json:"createdAt,omitempty"`
	Maker     string         `json:"maker,omitempty" doc:"who made it"`
	Via       string         `json:"via,omitempty" doc:"the key that it was made with"`
	Revision  uint64         `json:"revision,omitempty" doc:"what If-Match takes"`
	Key       string         `json:"key,omitempty" doc:"the key itself: only in the answer of POST, and never again"`
}

// APIKeyList is the answer of GET /keys.
type APIKeyList struct { //nolint:revive // as APIKey
	Keys []APIKey `json:"keys"`
	Page
}

// NewKey is the body of POST /keys.
type NewKey struct {
	Name      string         `json:"name" minLength:"1" maxLength:"256" doc:"what it is for"`
	User      string         `json:"user,omitempty" maxLength:"256" doc:"who comes with it. Absent: the caller; if the caller is an admin, the key is somebody of its own, under its name"`
	Role      jackfield.Role `json:"role,omitempty" enum:"user,editor,admin" doc:"at most the caller's; absent: that of the user"`
	Teams     []string       `json:"teams,omitempty" maxItems:"100" minLength:"1" maxLength:"64" doc:"besides those of the user"`
	Servers   []string       `json:"servers,omitempty" maxItems:"200" minLength:"1" maxLength:"128" doc:"only for these, by name; absent: for all that the user sees"`
	ExpiresAt *time.Time     `json:"expiresAt,omitempty" doc:"absent: never"`
}

// Team is a team.
type Team struct {
	ID          string     `json:"id"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	CreatedAt   *time.Time `json:"createdAt,omitempty"`
	ChangedAt   *time.Time `json:"changedAt,omitempty"`
	By          string     `json:"by,omitempty" doc:"who wrote it last"`
	Revision    uint64     `json:"revision"`
}

// TeamList is the answer of GET /teams.
type TeamList struct {
	Teams []Team `json:"teams"`
	Page
}

// NewTeam is the body of POST /teams.
type NewTeam struct {
	ID string `json:"id" minLength:"1" maxLength:"64"`
	EditTeam
}

// EditTeam is the body of PUT /teams/{id}.
type EditTeam struct {
	Title       string `json:"title,omitempty" maxLength:"256"`
	Description string `json:"description,omitempty" maxLength:"4096"`
}

// User is a person or a program.
type User struct {
	Subject   string         `json:"subject"`
	Name      string         `json:"name,omitempty"`
	Email     string         `json:"email,omitempty"`
	Role      jackfield.Role `json:"role,omitempty" enum:"user,editor,admin"`
	Teams     []string       `json:"teams,omitempty"`
	Disabled  bool           `json:"disabled,omitempty"`
	CreatedAt *time.Time     `json:"createdAt,omitempty"`
	ChangedAt *time.Time     `json:"changedAt,omitempty"`
	By        string         `json:"by,omitempty" doc:"who wrote it last"`
	Revision  uint64         `json:"revision"`
}

// UserList is the answer of GET /users.
type UserList struct {
	Users []User `json:"users"`
	Page
}

// NewUser is the body of POST /users.
type NewUser struct {
	Subject string `json:"subject" minLength:"1" maxLength:"256"`
	EditUser
}

// EditUser is the body of PUT /users/{subject}.
type EditUser struct {
	Name     string         `json:"name,omitempty" maxLength:"256"`
	Email    string         `json:"email,omitempty" maxLength:"254"`
	Role     jackfield.Role `json:"role,omitempty" enum:"user,editor,admin" doc:"absent: user"`
	Teams    []string       `json:"teams,omitempty" maxItems:"100" minLength:"1" maxLength:"64"`
	Disabled bool           `json:"disabled,omitempty" doc:"the user and its keys are refused"`
}

// Member is somebody in a team.
type Member struct {
	Subject string         `json:"subject"`
	Name    string         `json:"name,omitempty"`
	Email   string         `json:"email,omitempty"`
	Role    jackfield.Role `json:"role,omitempty" enum:"user,editor,admin"`
}

// MemberList is the answer of GET /teams/{id}/members.
type MemberList struct {
	Members []Member `json:"members"`
	Page
}

// Me is the answer of GET /me: who is asking.
type Me struct {
	Subject  string         `json:"subject"`
	Name     string         `json:"name,omitempty"`
	Email    string         `json:"email,omitempty"`
	Teams    []string       `json:"teams" nullable:"false"`
	Role     jackfield.Role `json:"role" enum:"user,editor,admin"`
	Operator bool           `json:"operator,omitempty" doc:"may define what only the configuration file may"`
	Key      string         `json:"key,omitempty" doc:"the id of the API key that it came with"`
	Servers  []string       `json:"servers,omitempty" doc:"the key is only for these"`
	Edits    []string       `json:"edits" nullable:"false" doc:"the scopes whose definitions the caller may write; team:* is every team's, user:* everybody's"`
}

// Change is an entry of the log: something that was written or removed.
type Change struct {
	Number uint64             `json:"number"`
	Kind   string             `json:"kind" enum:"server,user,team,key,variable,setting"`
	ID     string             `json:"id,omitempty" doc:"absent in the event of a removal that the caller may not know the name of: list anew"`
	Scope  string             `json:"scope,omitempty" doc:"of a server: whose it is; of a variable: who entered it"`
	Server jackfield.ServerID `json:"server,omitempty" doc:"of a variable: the definition's id"`
	Name   string             `json:"name,omitempty" doc:"of a server or a variable"`
	Gone   bool               `json:"gone,omitempty" doc:"it was removed"`
	At     time.Time          `json:"at"`
	By     string             `json:"by,omitempty"`
}

// ChangeList is the answer of GET /log.
type ChangeList struct {
	Changes []Change `json:"changes"`
	Next    uint64   `json:"next" doc:"send it as since for what comes after this"`
}

// ConnectionChange is the data of the event "connection".
type ConnectionChange struct {
	Connection
	At time.Time `json:"at"`
}

// Notice is the data of the events "hello", "reset" and "cut".
type Notice struct {
	Number uint64 `json:"number" doc:"where the log is"`
	Reason string `json:"reason,omitempty"`
}

// Export is everything that the store keeps but secrets: no keys, for their hashes
// are secrets enough, and no values of variables. The definitions of the
// configuration file are not in it.
type Export struct {
	Jackfield   int                `json:"jackfield" enum:"1" doc:"the version of this format"`
	ExportedAt  time.Time          `json:"exportedAt"`
	Teams       []ExportTeam       `json:"teams" nullable:"false"`
	Users       []ExportUser       `json:"users" nullable:"false"`
	Definitions []ExportDefinition `json:"definitions" nullable:"false"`
}

// ExportTeam is a team in an Export.
type ExportTeam struct {
	ID string `json:"id"`
	EditTeam
}

// ExportUser is a user in an Export.
type ExportUser struct {
	Subject string `json:"subject"`
	EditUser
}

// ExportDefinition is a definition in an Export.
type ExportDefinition struct {
	Scope      string   `json:"scope"`
	Name       string   `json:"name"`
	Definition Document `json:"definition"`
}

// The outcomes of an imported item.
const (
	Added       = "added"
	Changed     = "changed"
	Kept        = "kept"         // it is there already, and the same
	NeedsSecret = "needs_secret" // it was not taken: its secrets have to be entered anew
	Refused     = "refused"      // it was not taken, for the reason given
)

// ImportResult is the answer of POST /import.
type ImportResult struct {
	DryRun  bool           `json:"dryRun,omitempty" doc:"nothing was written"`
	Added   int            `json:"added"`
	Changed int            `json:"changed"`
	Kept    int            `json:"kept"`
	Needs   int            `json:"needsSecret"`
	Refused int            `json:"refused"`
	Items   []ImportedItem `json:"items" nullable:"false" doc:"those that are kept are counted only"`
}

// ImportedItem is what became of one item.
type ImportedItem struct {
	Kind    string   `json:"kind" enum:"team,user,server"`
	ID      string   `json:"id"`
	Outcome string   `json:"outcome" enum:"added,changed,kept,needs_secret,refused"`
	Detail  string   `json:"detail,omitempty" doc:"why it was not taken"`
	Errors  []string `json:"errors,omitempty" doc:"everything that is wrong with it"`
}
