// Package otelbackplane traces and measures a fleet with OpenTelemetry. One trace shows a broadcast from the request
// that caused it, through the broker, to every node that delivered it. A trace of a query shows which node responded
// when, and which nodes did not respond.
//
//	observer, err := otelbackplane.New(nil) // the global providers, which the program has set
//	server, err := adapter.New(b, &adapter.Options{Observers: []observe.Observer{observer}})
//	...
//	err = server.Close(ctx)         // nodes and their brokers first
//	err = b.Close(ctx)
//	err = traces.Shutdown(ctx)      // then the SDK's providers of traces and metrics, which export the rest
//	err = measurements.Shutdown(ctx)
//	err = observer.Close()          // the Observer last; not needed if the process ends
//
// The package uses the OpenTelemetry API only; bring an SDK and exporters of your own. It observes nodes and emitters,
// not single clients, and it writes no logs. It does no I/O of its own and never fails an operation.
//
// You call only New and Close. Nodes call the other methods of the Observer, on the goroutines of their operations. On
// the same goroutines the Observer calls Options.Propagator and the SDK's samplers and span processors, several at the
// same time. They delay the operation: they must not block and must not call the node. So export spans in the
// background, as the SDK's batch processor does; its simple processor makes each broadcast wait for the exporter. After
// a panic in one of them the operation continues. A panic of the Propagator is counted in crossroom.header.ignored. Any
// other is reported to the node's OnError; an emitter ignores it.
//
// By default each node receives and reads all broadcasts of its namespaces, to make the spans with the outcome unwanted
// (not on a broker with Capabilities.OnlyExactly). In a large fleet with many rooms set Options.SkipUnwanted.
//
// During an outage of the broker a publish span ends when the broker has accepted the message, which then waits in its
// queue. The trace continues when the queue is sent. The span of a message that is lost later has no error: the metrics
// crossroom.interruptions and crossroom.lost.messages show outages and lost messages. A query has neither a span nor a
// measurement if it fails before it is sent, because the broker did not return its subscribers, as Redis in an outage.
// The exception is a broadcast with acknowledgements, which has both.
//
// # Spans
//
// Names, kinds and attributes follow the semantic conventions for messaging, version 1.43. The destination in a name
// is the namespace, followed by "#{room}" for a message to exactly one room. Names of rooms are in attributes and in
// the texts of errors (see Options.HideRooms), never in the names of spans.
//
//	publish NAMESPACE            producer  a broadcast, on the node or emitter that sends it
//	deliver NAMESPACE            consumer  the broadcast on each other node that reads it: child of publish,
//	                                       or linked to it (Options.Links)
//	query OPERATION NAMESPACE    client    a query to the fleet, with an event "answer" for each response
//	                                       and "missing" for each node that did not respond
//	answer OPERATION NAMESPACE   server    the query on each node that serves it: child of query
//	send OPERATION NAMESPACE     producer  a request without a response, such as a server-side emit
//	process OPERATION NAMESPACE  consumer  such a request on each node that serves it: child or linked, as deliver
//
// OPERATION is one of members, rooms-of, rooms, join, leave, disconnect, custom, event, and broadcast for a broadcast
// with acknowledgements. The members on the publisher's own node have no span of their own: the publish span includes
// their delivery, and its attributes count them. A deliver span has the outcome unwanted if the node has no member
// that the broadcast selects.
//
// A trace may lack spans: of nodes that missed the message, of nodes that do not subscribe to its room, and of Node.js
// servers. Nothing limits the events and the names of missing nodes on a span except the limits of the SDK, by default
// 128 events.
//
// A query without a response from each node has the status error, and its text names the missing nodes. OnRequest,
// OnEvent and the adapter's callbacks for requests get a context with their span. Log handlers that read the trace
// from the context get it too, for reports about failures while a message was delivered or a request served.
//
// Attributes of the conventions: messaging.system (the broker's name), messaging.operation.name and .type,
// messaging.destination.template and .name, messaging.client.id (the node's id), messaging.message.body.size (the
// payload) and .envelope.size (the whole message), messaging.message.conversation_id (a request's id), error.type.
// Attributes of Crossroom:
//
//	crossroom.namespace            namespace
//	crossroom.prefix               prefix of the broker's channels, if it has one
//	crossroom.rooms                names of the rooms, the first 16 (Options.HideRooms)
//	crossroom.rooms.count          number of rooms; 0 means all members
//	crossroom.all.count            number of rooms that a member must be in all of, if the selection has such rooms
//	crossroom.except.count         number of exceptions
//	crossroom.origin               id of the node that sent the message
//	crossroom.outcome              deliver: delivered or unwanted
//	crossroom.members.matched      number of selected local members
//	crossroom.members.delivered    number of selected local members that got the message
//	crossroom.members.skipped      number that were skipped: stalled, or just removed
//	crossroom.members.panicked     number whose Deliver panicked
//	crossroom.operation            OPERATION, as in the names of spans
//	crossroom.nodes.expected       number of nodes that should respond; 0 for a broadcast with acknowledgements
//	crossroom.nodes.answered       number of nodes that responded
//	crossroom.nodes.missing        number of nodes that did not respond
//	crossroom.nodes.missing.names  ids of the nodes that did not respond
//	crossroom.node                 in events: id of the node; "unannounced" for a Node.js server, whose id is not known
//	                               ("unannounced ×2" for two that did not respond)
//	crossroom.reason               in events: gone (backplane.ErrPeerLost), silent (ErrPeerUnresponsive),
//	                               timeout (ErrNoResponse), busy (ErrBusy) or refused (any other)
//	crossroom.header.ignored       number of ignored entries of the message's header
//
// # Propagation
//
// The context travels in the header of messages. The native wire has a field for it. On the Socket.IO wire it travels
// as additional keys traceparent, tracestate and baggage: in the options of a broadcast, and at the top level of
// requests. Node.js servers ignore these keys and clients never receive them (docs/PROTOCOL.md, section 13). A Node.js
// process that sets the keys has its trace continued. A message without them starts a trace.
//
// The header counts as a part of the message: with a trace it is about 80 bytes longer, and a message just below the
// broker's MaxPayload may become a *broker.PayloadError. If the caller of a broadcast sets a header of its own, the
// propagator's fields replace fields with the same names, and are dropped and counted if both together exceed 8 KiB.
// The Observer changes a copy: the caller's map stays as it is.
//
// Entries of a header that cannot be used are ignored and counted in crossroom.header.ignored, with a reason:
//
//	malformed   unreadable, or of an unknown version
//	oversized   over Options.MaxHeader, sent or received
//	unusable    dropped before the Observer: over 8 KiB, not text, or present twice
//	panic       the propagator panicked
//
// The message itself is delivered unchanged.
//
// The sender of a message may set the sampled flag, and the SDK's default sampler follows it: a process that may
// publish on the broker can have every node record all of its messages. backplane.Options.Keys limit that to processes
// with a key. Options.Links lets the sampler of each node decide about broadcasts and events. For queries too, give the
// SDK a sampler that also samples requests that other processes have marked as sampled:
//
//	root := sdktrace.TraceIDRatioBased(0.01)
//	sdktrace.WithSampler(sdktrace.ParentBased(root, sdktrace.WithRemoteParentSampled(root)))
//
// If all nodes have the same ratio, they sample the same traces, because the decision depends on the trace id only. A
// sender can choose ids that are sampled. Only a limit per second, such as that of a collector, helps against that.
//
// Baggage reaches every node of the fleet, and every process that can read the broker. To keep baggage out of messages,
// set Options.Propagator to propagation.TraceContext{}.
//
// # Metrics
//
// Units and names follow the conventions. Durations are in seconds; the histograms have boundaries from 50 µs to 10 s,
// unless a view gives them others. Counters of frequent events are read from the counters of nodes and brokers when the
// SDK collects metrics, so they cost nothing for each message. The histograms, crossroom.query.answered,
// crossroom.query.missing, crossroom.interruptions and crossroom.header.ignored are recorded when they happen. An
// emitter has only the first two rows, for what it sends, and crossroom.header.ignored.
//
//	messaging.client.sent.messages           counter        {message}       broadcasts to publish, with error.type if publishing failed
//	crossroom.sent.bytes                     counter        By              encoded bytes of these broadcasts
//	messaging.client.consumed.messages       counter        {message}       messages of all kinds from the broker, except announcements of nodes
//	crossroom.received.bytes                 counter        By              bytes of consumed messages that were read
//	messaging.process.duration               histogram      s               from the decoding of a broadcast until the last local member got it
//	crossroom.deliveries                     counter        {delivery}      calls of local members' Deliver
//	crossroom.deliveries.skipped             counter        {delivery}      members that were skipped: stalled, or just removed
//	crossroom.dropped.messages               counter        {message}       by crossroom.reason: unwanted, echo, foreign, undecodable, stray, unverified, refused
//	crossroom.decode.failures                counter        {message}       unreadable messages
//	crossroom.lost.messages                  counter        {message}       accepted messages that were lost or may have been, by crossroom.reason: lost, uncertain
//	crossroom.served.requests                counter        {request}       requests of other nodes, by crossroom.outcome: served, refused
//	crossroom.callback.failures              counter        {call}          calls of the application, by crossroom.reason: panic, stall
//	crossroom.query.duration                 histogram      s               queries, by crossroom.outcome: complete, partial (only nodes are missing), failed (any other error)
//	crossroom.query.answered                 counter        {node}          nodes that responded
//	crossroom.query.missing                  counter        {node}          nodes that did not respond
//	crossroom.interruptions                  counter        {interruption}  outages of the subscription of crossroom.namespace; "" is the nodes' own (see below)
//	crossroom.interruption.duration          histogram      s               duration of interruptions that have ended
//	crossroom.header.ignored                 counter        {entry}         ignored entries of headers, by crossroom.reason: malformed, oversized, unusable, panic
//	crossroom.members                        updowncounter  {member}        local members of a namespace
//	crossroom.rooms                          updowncounter  {room}          rooms that local members have joined, without those of their own ids
//	crossroom.peers                          updowncounter  {node}          known peers: other Crossroom nodes
//	crossroom.subscriptions                  updowncounter  {subscription}  filters subscribed to at the broker
//	crossroom.publish.queue.messages         updowncounter  {message}       accepted messages that wait to be sent
//	crossroom.publish.queue.bytes            updowncounter  By              bytes of the messages that wait to be sent
//	crossroom.subscription.last_message.age  gauge          s               time since the last message to the subscription of crossroom.namespace
//
// crossroom.members, crossroom.rooms and crossroom.subscription.last_message.age have crossroom.namespace and
// crossroom.protocol: native, socketio or another's name. The namespace "" stands for the channel on which the nodes
// announce themselves; its crossroom.protocol is control. Values of crossroom.reason in crossroom.dropped.messages:
//
//	unwanted     a broadcast that selects no member of the node
//	echo         a message of the node itself
//	foreign      of another namespace
//	undecodable  unreadable
//	stray        a response to no request of the node, or a late one
//	unverified   without a valid signature (backplane.Options.Keys)
//	refused      a broadcast that backplane.NamespaceOptions refuse
//
// All metrics except crossroom.interruptions, crossroom.interruption.duration and crossroom.header.ignored have the
// node's id as messaging.client.id, because a process may have several nodes. A node has a new id after each start,
// unless you name nodes yourself. If that makes too many time series, drop the attribute with a view.
//
// Two limits bound the memory and the number of time series. After 4,096 combinations of node, operation and namespace,
// the namespace of further ones is _OTHER, in metrics and in the names of spans. Only the counters of the last 64
// closed nodes stay, so that their last values are exported. They are read when the node has closed: messages that the
// broker's Close loses after that are in no metric. The counters of an emitter stay until the Observer is dropped, also
// after Emitter.Close: do not make an emitter for each request.
package otelbackplane
