package app

import (
	"log/slog"

	"github.com/jackfield-dev/jackfield"
)

// Reload reads the configuration once more and takes over what changed in it: new
// servers are offered, removed ones are cut, and those whose connection would be
// another are dialed anew by the next call. A configuration with errors changes
// nothing, and the error lists them. Gateway settings need a restart; that is
// logged.
func (a *App) Reload() error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	if a.opts.Reread == nil {
		return jackfield.Errorf(jackfield.Invalid, "the gateway was not started from a file, so there is nothing to read again")
	}
	config, problems, err := a.opts.Reread()
	a.parts.stale.Store(err != nil)
	if err != nil {
		return err
	}
	for _, problem := range problems {
		a.log.Warn("the configuration has a problem", slog.String("problem", problem.String()))
	}
	a.parts.lose(a.parts.directory.Configure(directoryKeys(config.Auth.Keys)))
	change, err := a.parts.apply(config, problems)
	if err != nil {
		return err
	}
	a.warm()
	a.log.Info("configuration taken over", slog.Int("servers", len(config.Servers)), slog.String("change", change.String()))
	if a.opts.Config.Auth.Open() && !config.Auth.Open() {
		a.log.Warn("the gateway goes on to take callers without a key until it is started again")
	}
	if names := a.opts.Config.NeedsRestart(config); len(names) > 0 {
		a.log.Warn("these settings changed and take effect with the next start", slog.Any("settings", names))
	}
	return nil
}
