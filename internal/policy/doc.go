// Package policy says who may see and use which server and tool, and how often.
//
// Decide looks at nothing but what it is given, so that lists and calls that ask it get
// one answer. Whoever is not in the scope of a server, is denied by its rules, or came
// with a key for other servers, does not see it. Deny wins over allow. Being an admin
// opens no server: admins change who may, like anybody they are subject to it.
//
// Rates holds how much of its rates each principal and server has left: buckets that
// fill evenly and hold what one period allows. A call takes from all buckets that
// concern it or from none. They are bounded in number; a bucket that is full is as good
// as none and goes first, and if none is full, who needs a new one gets it no fuller
// than the one that goes, so that nobody has a new burst by pushing an empty bucket out.
package policy
