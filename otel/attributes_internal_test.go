package otelbackplane

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/crossroom/crossroom/backplane/observe"
)

// A request that was served with an error says so, and with HideRooms not in words that may name a room.
func TestErrorOfAServedRequest(t *testing.T) {
	for _, hide := range []bool{false, true} {
		recorder := tracetest.NewSpanRecorder()
		_, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("").Start(context.Background(), "serve")
		o := &Observer{opts: Options{HideRooms: hide}}
		o.ServeEnd(context.Background(), &observe.Serve{State: span, Err: errors.New("no room lobby")})
		require.Len(t, recorder.Ended(), 1)
		status := recorder.Ended()[0].Status()
		assert.Equal(t, codes.Error, status.Code)
		assert.Equal(t, map[bool]string{false: "no room lobby", true: "*errors.errorString"}[hide], status.Description)
	}
}

// With HideRooms the text of another node is not in the status of a request.
func TestErrorOfAMissingNode(t *testing.T) {
	for _, hide := range []bool{false, true} {
		recorder := tracetest.NewSpanRecorder()
		_, span := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("").Start(context.Background(), "query")
		o := &Observer{opts: Options{HideRooms: hide}}
		o.recordCoverage(span, &observe.Request{Missing: []observe.Missing{{Node: "n", Count: 1, Reason: errors.New("no room lobby")}}}, 0, 1)
		span.End()
		require.Len(t, recorder.Ended(), 1)
		assert.Equal(t, map[bool]string{false: "no response from n (no room lobby)", true: "no response from n (refused)"}[hide], recorder.Ended()[0].Status().Description)
	}
}
