// Package document reads a YAML or JSON file into a tree that knows where
// every value stands, and collects what is wrong with it, so that a person gets
// all problems at once, each with a line and with what to write instead.
//
// Reading is in three steps. Load takes the bytes from disk and refuses what is
// no UTF-8 text of a sensible size. Parse makes the tree: duplicate keys are
// refused, YAML's anchors, aliases and merge keys are resolved within bounds,
// and JSON may have the comments and trailing commas that editors allow.
// Decode fills Go structs from the tree by their json tags, which are also what
// the JSON Schema is made from.
package document
