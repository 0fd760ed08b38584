package upstream

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/jackfield-dev/jackfield"
)

func TestEveryKindOfFailureIsFoundOut(t *testing.T) {
	dialing := func(err error) error {
		return fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", err)})
	}
	status := func(code int) *failure {
		w := &web{name: "http://x"}
		return w.refused(&reply{Response: &http.Response{StatusCode: code, Header: http.Header{}}}, "initialize", nil)
	}
	const address = "http://x"
	seen := map[jackfield.FailureKind]bool{}
	for _, c := range []struct {
		f    *failure
		want jackfield.FailureKind
	}{
		{asFailure(errors.New("odd")), jackfield.FailureOther},
		{unreachable(address, &net.DNSError{Err: "no such host"}), jackfield.FailureDNS},
		{unreachable(address, &net.DNSError{Err: "timeout", IsTimeout: true}), jackfield.FailureTimeout},
		{unreachable(address, dialing(syscall.ECONNREFUSED)), jackfield.FailureRefused},
		{unreachable(address, dialing(syscall.EHOSTUNREACH)), jackfield.FailureUnreachable},
		{unreachable(address, dialing(syscall.ETIMEDOUT)), jackfield.FailureTimeout},
		{unreachable(address, x509.UnknownAuthorityError{}), jackfield.FailureTLS},
		{unreachable(address, context.DeadlineExceeded), jackfield.FailureTimeout},
		{unreachable(address, syscall.ECONNRESET), jackfield.FailureBroken},
		{unreachable(address, jackfield.Errorf(jackfield.Forbidden, "not there")), jackfield.FailurePolicy},
		{status(http.StatusServiceUnavailable), jackfield.FailureHTTP},
		{status(http.StatusUnauthorized), jackfield.FailureAuth},
		{status(http.StatusForbidden), jackfield.FailureAuth},
		{protocolFailure("what?"), jackfield.FailureProtocol},
		{tooLarge(5), jackfield.FailureBudget},
		{cannotStart(&jackfield.Endpoint{}, exec.ErrNotFound), jackfield.FailureStart},
		{&failure{stage: StageSpawn, what: "the process has ended"}, jackfield.FailureExited},
		{&failure{kind: jackfield.FailureSession, stage: StageHTTP, status: http.StatusNotFound}, jackfield.FailureSession},
	} {
		f := jackfield.FailureOf(fmt.Errorf("x: %w", c.f))
		if f == nil || f.Kind != c.want {
			t.Errorf("%+v is %+v, want %s", c.f, f, c.want)
		}
		seen[c.want] = true
	}
	for _, k := range jackfield.FailureKinds() {
		if !seen[k] {
			t.Errorf("nothing is %s", k)
		}
	}
}
