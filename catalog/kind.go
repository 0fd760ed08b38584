package catalog

// Kind is one of the four kinds of thing that a server lists.
type Kind uint8

// The kinds.
const (
	Tools Kind = iota
	Prompts
	Resources
	Templates

	numKinds = 4
)

// Kinds is a set of kinds, a bit for each.
type Kinds uint8

// AllKinds is every kind.
const AllKinds Kinds = 1<<numKinds - 1

// SetOf is the set of the kinds given.
func SetOf(kinds ...Kind) Kinds {
	var s Kinds
	for _, k := range kinds {
		s |= 1 << k
	}
	return s
}

// Has reports whether k is in the set.
func (s Kinds) Has(k Kind) bool { return s&(1<<k) != 0 }

// String is the kind as the API and the CLI write it.
func (k Kind) String() string { return kindNames[k] }

// Method is the request that lists things of this kind.
func (k Kind) Method() string { return kindMethods[k] }

var (
	kindNames   = [numKinds]string{"tools", "prompts", "resources", "templates"}
	kindMethods = [numKinds]string{"tools/list", "prompts/list", "resources/list", "resources/templates/list"}
	kindMembers = [numKinds]string{"tools", "prompts", "resources", "resourceTemplates"} // of the result
)

// KindOf finds the kind that a request method lists.
func KindOf(method string) (Kind, bool) {
	for k, m := range kindMethods {
		if m == method {
			return Kind(k), true
		}
	}
	return 0, false
}

// changedBy are the kinds that a notification says have changed.
func changedBy(method string) Kinds {
	switch method {
	case "notifications/tools/list_changed":
		return SetOf(Tools)
	case "notifications/prompts/list_changed":
		return SetOf(Prompts)
	case "notifications/resources/list_changed":
		return SetOf(Resources, Templates)
	}
	return 0
}
