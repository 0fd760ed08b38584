// Package store keeps in the data directory what must outlive the process: a
// SQLite database, jackfield.db, behind a lock that one process holds at a time.
//
// Today that is the catalog: listings and shapes. Nothing of it is the truth about
// anything; the servers are, and a lost file costs a visit to each. So a file that
// is damaged is moved aside and a new one begun. A file that somebody else may
// want, because another program or a newer Jackfield wrote it, is never touched:
// Open says what to do about it.
//
// # What holds
//
//  1. Save keeps all of what it was given or nothing, whenever the process is
//     killed; what it has acknowledged is on the disk.
//  2. Load gives nothing that Save was not given: each list is checked against its
//     sum, and one that does not match is left out and reported.
//  3. One process at a time has the directory. The system takes the lock from one
//     that is gone, however it went.
//  4. Migrations go forward only, and all that are due run in Open.
//  5. Nothing in the file opens anything: no credentials, no addresses, no command
//     lines. What definitions are known by is an HMAC over them.
package store
