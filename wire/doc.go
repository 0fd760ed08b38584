// Package wire reads and writes JSON-RPC 2.0 at the byte level, as MCP uses it:
// it finds the few members of a message that a gateway must look at, splices
// what must change, and leaves every other byte as it came.
//
// # One reading of a message
//
// A gateway that checks the first "name" of a message while the server behind
// it obeys the last is an open door. So the scanner refuses what two readers
// could read differently: a member that it looks for and that stands twice, or
// is spelled with escapes, or differs from the expected spelling only by case;
// anything behind the end of the message; text that is not valid UTF-8; and
// nesting deeper than MaxDepth. Everything else that it accepts, encoding/json
// accepts too and reads the same way; the fuzz targets hold it to that.
//
// The package depends on nothing but the standard library.
package wire
