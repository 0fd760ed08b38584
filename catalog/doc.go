// Package catalog remembers what servers are like (their shapes) and what they
// offer (their listings), and shows it under final names (views).
//
// # Listings
//
// A listing belongs to a server and an audience: everybody, for what the server
// declared public and for servers that everybody reaches on the same credentials;
// else the one owner whose credentials were shown. One visit to a server brings
// all lists that are due, over a connection of its own, for all who wait.
//
//	state           who asks gets                          and meanwhile
//	fresh           the list                               nothing
//	aged            the last good list, at once            it is fetched behind
//	changed         the new list, or after 1 s the old     it is fetched
//	never listed    what there is after at most 2 s        it is fetched
//
// A list is fresh for as long as its server said (ttlMs). For servers that do not
// say (legacy ones): until they tell of a change while a stream is open that would
// tell, else for 5 minutes, fetched ahead of time while it is in use, and anew with
// every new connection. A visit that fails leaves the last good list in place, with
// its age and the reason, and the next visit waits longer; one that fails because
// credentials are missing, or let nobody in, is the last until somebody does
// something about it (Renewed, Retry, Connected, a new version). Whoever was given less
// than there turns out to be is told: a Change goes to all who watch.
//
// # What holds
//
//  1. A visit belongs to the catalog, not to its first waiter, and a listing has
//     one visit under way at most. It has a deadline and ends with Close.
//  2. The answer to a question asked before a change never counts as the answer
//     after it.
//  3. What is private to one owner is never shown to another.
//  4. A table of final names is immutable; resolve(final(x)) == x for each row of
//     it; and a final name depends on nothing but its server and its tool.
//  5. No fetch, hook or channel receive under the lock.
//  6. Listings of owners and pages have bounds, and so has what the tables of all
//     views take together. Lists that say the same are in memory once, whoever they
//     were listed for.
//  7. A view shows its servers as they stand in it, tool filters included; a table is
//     never another view's.
//
// Items are parsed once, when they are fetched, and only to find what they are
// called; what a client gets is the server's own bytes with that one member
// spliced.
//
// # What outlives the process
//
// Everything is served from memory. Behind it, what changed is handed to a Store,
// all of it in one Save: however often something changes while one is under way,
// the next one has it once, and a store that fails is tried again and hurts nobody.
// Restore takes in what another process left: it is answered at once, as aged, and
// only to the definition that it was listed with.
package catalog
