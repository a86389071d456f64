// The stock OpenTelemetry SDK, and the code with which a Socket.IO server takes part in the traces
// of Go nodes: about thirty lines around two hooks of the adapter.
"use strict";

const { context, propagation, trace, ROOT_CONTEXT, SpanKind } = require("@opentelemetry/api");
const { OTLPTraceExporter } = require("@opentelemetry/exporter-trace-otlp-http");
const { resourceFromAttributes } = require("@opentelemetry/resources");
const { BatchSpanProcessor, NodeTracerProvider } = require("@opentelemetry/sdk-trace-node");
const notepack = require("notepack.io");
const { Adapter } = require("socket.io-adapter");

function start(service, collector) {
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({ "service.name": service }),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: collector + "/v1/traces" }))],
  });
  provider.register(); // W3C trace context and baggage, and a context that follows await
  return provider;
}

const tracer = trace.getTracer("example");

// Date.now() has whole milliseconds only, and so have spans without a given start: a message would
// often arrive before it was sent. So read the precise clock once, at a full millisecond.
const origin = (() => {
  const before = Date.now();
  while (Date.now() === before);
  return Date.now() - performance.now();
})();
const now = () => origin + performance.now();

function attributes(service, nsp, opts, action) {
  const rooms = [...(opts.rooms || [])];
  return {
    "messaging.system": "redis",
    "messaging.operation.name": action,
    "messaging.operation.type": action === "publish" ? "send" : "process",
    "messaging.destination.template": rooms.length === 1 ? nsp + "#{room}" : nsp,
    "messaging.destination.name": rooms.length === 1 ? nsp + "#" + rooms[0] : nsp,
    "messaging.client.id": service,
    "crossroom.namespace": nsp,
    "crossroom.rooms": rooms,
  };
}

// Sending: the adapter encodes [uid, packet, opts] with the given parser. The context is in keys of
// opts, which other servers ignore.
function parser(service) {
  return {
    decode: notepack.decode,
    encode(message) {
      if (!Array.isArray(message) || !message[2]) return notepack.encode(message);
      const [uid, packet, opts] = message;
      const attrs = attributes(service, packet.nsp, opts, "publish");
      const name = "publish " + attrs["messaging.destination.template"];
      const span = tracer.startSpan(name, { kind: SpanKind.PRODUCER, attributes: attrs, startTime: now() });
      const carrier = {};
      propagation.inject(trace.setSpan(context.active(), span), carrier);
      const bytes = notepack.encode([uid, packet, { ...opts, ...carrier }]);
      span.end(now());
      return bytes;
    },
  };
}

// Receiving: a message of another server ends in the in-memory adapter's broadcast, with the
// received opts. onDeliver is called with the packet in the context of the span.
function traceDeliveries(service, onDeliver) {
  const broadcast = Adapter.prototype.broadcast;
  Adapter.prototype.broadcast = function (packet, opts) {
    if (!opts.traceparent) return broadcast.call(this, packet, opts);
    const attrs = attributes(service, packet.nsp, opts, "deliver");
    const parent = propagation.extract(ROOT_CONTEXT, opts);
    const name = "deliver " + attrs["messaging.destination.template"];
    tracer.startActiveSpan(name, { kind: SpanKind.CONSUMER, attributes: attrs, startTime: now() }, parent, (span) => {
      let matched = 0;
      this.apply(opts, () => matched++);
      broadcast.call(this, packet, opts);
      span.setAttributes({
        "crossroom.members.matched": matched,
        "crossroom.members.delivered": matched,
        "crossroom.outcome": matched ? "delivered" : "unwanted",
      });
      onDeliver(packet);
      span.end(now());
    });
  };
}

module.exports = { start, parser, traceDeliveries };
