package exchange

import "github.com/jackfield-dev/jackfield/wire"

// Shape is what was learned of a server by speaking to it. It is a fact about
// the server, kept in the catalog, so that the next connection need not find out
// again.
type Shape struct {
	Transport string // "stdio", "http" or "sse": what the server really speaks
	Version   string // the protocol revision in use
	Session   bool   // it keeps state for each connection: hands out session ids, or is a process

	Capabilities wire.Raw // the server's capabilities object
	ServerInfo   wire.Raw // name, version, title and icons; display only
	Instructions string
}

// Modern reports whether the server speaks the stateless revision.
func (s Shape) Modern() bool { return s.Version == Modern }
