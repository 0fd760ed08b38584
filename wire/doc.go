// Package wire reads and writes JSON-RPC 2.0 at the byte level, as MCP uses it:
// it finds the few members of a message that a gateway must look at, splices
// what must change, and leaves every other byte as it came. Around the messages
// it reads and writes what carries them: event streams, lines, and the HTTP
// headers of MCP.
//
//	Parse          one message: its kind, id, method, params, result, error
//	ScanObject     one object and the members that somebody reads or edits
//	SplitArray     the elements of an array: a batch, the items of a list
//	DigestObject   what an object says, whatever way it is written
//	EventReader    an event stream; AppendEvent and AppendComment write one
//	LineReader     one message a line, as stdio has it
//
// # One reading of a message
//
// A gateway that checks the first "name" of a message while the server behind
// it obeys the last is an open door. So the scanner refuses what two readers
// could read differently. All that it accepts, encoding/json accepts too and
// reads the same way; beyond what encoding/json refuses, it refuses exactly
// this, and the fuzz targets hold it to both:
//
//   - a string or key that is not valid UTF-8 (ErrSyntax);
//   - anything behind the end of the message (ErrSyntax);
//   - nesting deeper than MaxDepth (ErrAmbiguous);
//   - a watched member that stands twice, is spelled with escapes, or is spelled
//     as another case of the name, which some readers would take for the name
//     (ErrAmbiguous);
//   - a message that JSON-RPC 2.0 or MCP does not allow: params that are neither
//     an object nor null, an id that is neither a string of at most 1 KiB nor an
//     integer, a method that is not a string or holds half of a surrogate pair
//     (ErrAmbiguous);
//   - text longer than 1 GiB (ErrTooLarge).
//
// Members that nobody watches pass as they are, whatever is in them.
//
// # Cost
//
// Parse and ScanObject allocate nothing, look at every byte once and copy none;
// a test holds them to it. A stream reader keeps buffers bounded by its limit,
// and does not keep large ones.
//
// The package depends on nothing but the standard library.
package wire
