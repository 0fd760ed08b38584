// Package store keeps what must outlive the process: records, which are the truth
// about definitions, people and what they entered, with a log of their changes; and
// the catalog, which is only what servers said. It is a SQLite database in the data
// directory, jackfield.db, behind a lock that one process holds at a time; or a
// PostgreSQL database that many processes share. Both run the same statements.
//
// # What holds
//
//  1. Write does all that it is given or nothing, each write only if its record has
//     the revision that was asked for, whenever a process or the database is killed.
//     What it has acknowledged is on the disk. When PostgreSQL is lost in the middle of
//     a commit nobody knows whether it happened, and the error says so.
//  2. Every change has a number, and numbers have no gaps and come in the order of the
//     commits: a writer takes them from one row, which others wait for, in the same
//     transaction. So whoever has read up to a number has missed nothing before it.
//  3. All and Since see one moment. Since is everything when the log no longer reaches
//     back, or is behind the asker. The newest 100,000 changes are kept.
//  4. Hints may be late or lost, and cost nothing but time then.
//  5. Times are those of the database's clock, which all processes share.
//  6. Nothing waits without an end: reads, writes and migrations have deadlines, and
//     PostgreSQL ends the transaction of a process that is gone without a word.
//  7. Migrations go forward only, and all that are due run in Open, in one process at a
//     time. A lock is kept by a transaction, so it works through poolers and ends with
//     its process. A database of a newer form is refused.
//  8. A file that is damaged, or belongs to another program or a newer Jackfield, is
//     not touched, and neither is the log beside it: Open says what to do. Files are for
//     their owner alone.
//  9. Load gives nothing that Save was not given: each list is checked against its
//     sum, and one that does not match is left out and reported.
//  10. Nothing secret is readable here: what is secret in a record is sealed, and what
//     definitions are known by in the catalog is an HMAC over them. Messages name no
//     host, no path below the data directory's and no password; the log has the causes.
package store
