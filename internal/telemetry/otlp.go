package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"

	"go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/jackfield-dev/jackfield"
)

// OTLP sends traces and metrics to a collector. The zero OTLP sends nothing.
type OTLP struct {
	Tracing *Tracing // nil: no traces
	meters  *metric.MeterProvider
}

// wanted says which signals the environment asks for: one with an endpoint, or with
// "otlp" as its exporter (OpenTelemetry, environment variable specification).
func wanted(signal string) (bool, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false, nil
	}
	endpoint := os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") + os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT")
	switch exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "otlp":
	case "":
		if endpoint == "" {
			return false, nil
		}
	default:
		return false, jackfield.Errorf(jackfield.Invalid, "OTEL_%s_EXPORTER says %.40q; use otlp or none", signal, exporter)
	}
	protocol := os.Getenv("OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL")
	if protocol == "" {
		protocol = os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if protocol != "" && protocol != "http/protobuf" {
		return false, jackfield.Errorf(jackfield.Invalid,
			"OTEL_EXPORTER_OTLP_PROTOCOL says %.40q; this gateway speaks http/protobuf, which collectors take at port 4318", protocol)
	}
	return true, nil
}

// StartOTLP sends traces, and what m counts, to where the OTEL_* variables of the
// environment say. Without them it does nothing and costs nothing.
func StartOTLP(ctx context.Context, version string, m *Metrics, log *slog.Logger) (*OTLP, error) {
	traces, err := wanted("TRACES")
	if err != nil {
		return nil, err
	}
	metrics, err := wanted("METRICS")
	if err != nil {
		return nil, err
	}
	o := &OTLP{}
	if !traces && !metrics {
		return o, nil
	}
	complainTo(log)
	from, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "jackfield"), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv(), // the environment has the last word
	)
	if err != nil {
		log.Warn("OTEL_RESOURCE_ATTRIBUTES is not as it should be", slog.Any("error", err))
	}
	if traces {
		to, err := otlptracehttp.New(ctx)
		if err != nil {
			return nil, jackfield.Errorf(jackfield.Invalid, "traces cannot be sent: %w; look at the OTEL_* variables", err)
		}
		o.Tracing = newTracing(sdk.NewTracerProvider(sdk.WithBatcher(to), sdk.WithResource(from)), version)
	}
	if metrics {
		to, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return nil, errors.Join(o.Close(ctx), jackfield.Errorf(jackfield.Invalid, "metrics cannot be sent: %w; look at the OTEL_* variables", err))
		}
		read := metric.NewPeriodicReader(to, metric.WithProducer(prometheus.NewMetricProducer(prometheus.WithGatherer(m.registry))))
		o.meters = metric.NewMeterProvider(metric.WithReader(read), metric.WithResource(from))
	}
	return o, nil
}

// Close sends what was not sent yet, until ctx ends.
func (o *OTLP) Close(ctx context.Context) error {
	var errs []error
	if o.Tracing != nil {
		errs = append(errs, o.Tracing.provider.Shutdown(ctx))
	}
	if o.meters != nil {
		errs = append(errs, o.meters.Shutdown(ctx))
	}
	return errors.Join(errs...)
}
