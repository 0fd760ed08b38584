package credentials_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackfield-dev/jackfield"
	"github.com/jackfield-dev/jackfield/internal/credentials"
)

// TestVeryManyServersHaveOneSecret: each change of a definition tells of all of them.
func TestVeryManyServersHaveOneSecret(t *testing.T) {
	servers := make([]jackfield.Server, 200_000)
	shared := jackfield.Template{{From: jackfield.FromSecret, Name: "file:/one"}}
	for i := range servers {
		servers[i].ID = jackfield.ServerID(fmt.Sprintf("app/server-%06d", i))
		servers[i].Fill.Headers = map[string]jackfield.Template{"X-Key": shared, "X-Other": shared}
	}
	c := credentials.New(credentials.Options{})
	began := time.Now()
	c.Secrets(servers)
	if took := time.Since(began); took > 10*time.Second { // some tenths, and minutes if each is compared with each
		t.Errorf("it took %v", took)
	}
}
