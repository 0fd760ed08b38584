package gateway

import (
	"container/list"
	"slices"
	"sync"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/broker"
)

// How many tasks are remembered as somebody's: of all clients, and of one.
const (
	maxNoted    = 4096
	maxOwnNoted = 256
)

// noted remembers which tasks clients with sessions were given, so that a list of
// tasks shows each its own. Nothing else needs it. The oldest are forgotten. Its zero
// value is empty.
type noted struct {
	mu     sync.Mutex // guards what follows
	order  list.List  // of notedTask, the newest first
	at     map[notedTask]*list.Element
	owners map[string]int
}

type notedTask struct {
	owner string
	broker.Task
}

func (n *noted) add(owner string, t broker.Task) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := notedTask{owner, t}
	if e := n.at[k]; e != nil {
		n.order.MoveToFront(e)
		return
	}
	if n.at == nil {
		n.at, n.owners = map[notedTask]*list.Element{}, map[string]int{}
	}
	n.at[k] = n.order.PushFront(k)
	n.owners[owner]++
	if n.owners[owner] > maxOwnNoted {
		n.dropLocked(func(k notedTask) bool { return k.owner == owner })
	} else if len(n.at) > maxNoted {
		n.dropLocked(func(notedTask) bool { return true })
	}
}

// dropLocked forgets the oldest that is one of these. mu is held.
func (n *noted) dropLocked(which func(notedTask) bool) {
	for e := n.order.Back(); e != nil; e = e.Prev() {
		k := e.Value.(notedTask)
		if !which(k) {
			continue
		}
		n.order.Remove(e)
		delete(n.at, k)
		if n.owners[k.owner]--; n.owners[k.owner] == 0 {
			delete(n.owners, k.owner)
		}
		return
	}
}

func (n *noted) has(owner string, t broker.Task) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at[notedTask{owner, t}] != nil
}

// find is the newest task of that id, whoever made it.
func (n *noted) find(owner, id string) (broker.Task, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for e := n.order.Front(); e != nil; e = e.Next() {
		if k := e.Value.(notedTask); k.owner == owner && k.ID == id {
			return k.Task, true
		}
	}
	return broker.Task{}, false
}

// servers are those that made tasks for the owner, in the order of their ids.
func (n *noted) servers(owner string) []jackfield.ServerID {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []jackfield.ServerID
	for e := n.order.Front(); e != nil; e = e.Next() {
		if k := e.Value.(notedTask); k.owner == owner && !slices.Contains(all, k.Server) {
			all = append(all, k.Server)
		}
	}
	slices.Sort(all)
	return all
}
