// Package seal keeps secrets unreadable where they are stored. Each value is
// encrypted with a data key of its own, and the data key with the master key:
// envelope encryption, as tink has it, AES-256-GCM for both.
//
// The master keys are text, so that they can be made with openssl and kept in a
// vault: 32 bytes each, in base64 or hex, one in a line or separated by commas; what
// follows a # is a remark. The first one seals and all of them open, which is what
// makes rotation possible: put a new key first, wait until everything is sealed with
// it, take the old one away. docs/security.md has the steps.
//
// # What holds
//
//  1. What was sealed opens with the bind it was sealed with and no other, with every
//     bit as it was, and not at all otherwise.
//  2. A key is known by an id that is derived from it, so the same key has the same
//     id wherever it comes from, in whatever order.
//  3. No error and no log line quotes a key, nor a line that might be one.
//  4. A key that is made here is on the disk before anything is sealed with it.
package seal
