// Package app joins the parts into a running gateway and is the only place that
// does: it reads the configuration, starts what it asks for, takes changes over
// while it runs, and stops in order.
package app
