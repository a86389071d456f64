// Package otelbackplane traces and measures a fleet with OpenTelemetry. One trace shows a broadcast from the request
// that caused it, through the broker, to every node that delivered it. A trace of a query shows which node responded
// when, and which nodes did not respond.
//
//	observer, err := otelbackplane.New(nil) // the global providers
//	server, err := adapter.New(b, &adapter.Options{Observers: []observe.Observer{observer}})
//	...
//	err = server.Close(ctx)   // first the nodes, then the SDK's providers, then the Observer
//	err = provider.Shutdown(ctx)
//	err = observer.Close()
//
// The package uses the OpenTelemetry API only; bring an SDK and exporters of your own. It does no I/O and never fails
// an operation: a failure of a propagator is counted, not returned. Its methods wait for no other component, except
// Close. It observes nodes and emitters, not single clients, and it writes no logs. You call no method while the nodes
// run: the nodes call the Observer, on the goroutines of their operations. The Observer calls Options.Propagator, and
// the SDK's span processors and samplers, on the same goroutines. They must not block, because a blocked call delays
// the operation. Options has no slice and no map.
//
// During an outage of the broker a publish span ends when the broker has accepted the message, which then waits in its
// queue. The trace continues when the queue is sent. The metrics crossroom.interruptions and crossroom.lost.messages
// show outages and the messages that they cost.
//
// # Spans
//
// Names, kinds and attributes follow the semantic conventions for messaging, version 1.43. The destination in a name
// is the namespace, followed by "#{room}" for a message to exactly one room. Names of rooms are attributes only (see
// Options.HideRooms).
//
//	publish NAMESPACE            producer  a broadcast, on the node or emitter that sends it
//	deliver NAMESPACE            consumer  each other node that reads the broadcast: child of publish,
//	                                       or linked to it (Options.Links)
//	query OPERATION NAMESPACE    client    a query to the fleet, with an event "answer" for each response
//	                                       and "missing" for each node that did not respond
//	answer OPERATION NAMESPACE   server    each node that serves the query: child of query
//	send OPERATION NAMESPACE     producer  a request without a response, such as a server-side emit
//	process OPERATION NAMESPACE  consumer  each node that serves such a request: as deliver
//
// OPERATION is one of members, rooms-of, rooms, join, leave, disconnect, custom, event and broadcast. The last is a
// broadcast with acknowledgements. The publisher's own sockets have no span of their own: publish includes the local
// delivery, and its attributes count these sockets. A deliver span with the outcome unwanted belongs to a node on
// which no member is selected.
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
//	crossroom.all.count            number of rooms that each member must be in, if there are any
//	crossroom.except.count         number of exceptions
//	crossroom.origin               id of the node that sent the message
//	crossroom.outcome              deliver: delivered or unwanted
//	crossroom.members.matched      number of selected local members
//	crossroom.members.delivered    … that got the message
//	crossroom.members.skipped      … that were skipped: stalled, or just removed
//	crossroom.members.panicked     … that panicked
//	crossroom.operation            OPERATION, as in the names of spans
//	crossroom.nodes.expected       number of nodes that should respond
//	crossroom.nodes.answered       … that responded
//	crossroom.nodes.missing        … that did not respond
//	crossroom.nodes.missing.names  ids of the nodes that did not respond
//	crossroom.node                 in events: id of the node; "unannounced" for a foreign peer, which has no known id
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
// A header that is too long, unreadable, not text, present twice or of an unknown version is ignored and counted. So
// are oversized output of a propagator and its panics. None of these loses, delays or changes a message.
//
// The sender of a message may set the sampled flag, and the SDK's default sampler follows it: a process that may publish
// on the broker can have every node record all of its messages. Options.Keys of the nodes limit that to processes with
// a key. Options.Links lets the sampler of each node decide about broadcasts and events. For queries too, give the SDK
// a sampler that limits what others ask for:
//
//	root := sdktrace.TraceIDRatioBased(0.01)
//	sdktrace.WithSampler(sdktrace.ParentBased(root, sdktrace.WithRemoteParentSampled(root)))
//
// With the same ratio everywhere, the traces that the nodes of a fleet begin stay whole, because the decision depends on
// the trace id only. A sender can choose ids that are sampled; a limit that holds against that is one in time, such as
// that of a collector.
//
// Baggage reaches every node of the fleet, and every process that can read the broker. If it must not, set
// Options.Propagator to propagation.TraceContext.
//
// # Metrics
//
// Units and names follow the conventions. Durations are in seconds and suit exponential histograms. Counters of
// frequent events are read from the counters of nodes and brokers at collection, so that a message costs nothing more.
// The histograms, crossroom.query.answered, crossroom.query.missing, crossroom.interruptions and
// crossroom.header.ignored are recorded when they happen.
//
//	messaging.client.sent.messages           counter        {message}       broadcasts to publish, with error.type if publishing failed
//	crossroom.sent.bytes                     counter        By              … their encoded bytes
//	messaging.client.consumed.messages       counter        {message}       messages of all kinds from the broker
//	crossroom.received.bytes                 counter        By              … bytes of those that were read
//	messaging.process.duration               histogram      s               from the decoding of a broadcast until the last local member got it
//	crossroom.deliveries                     counter        {delivery}      calls of local members' Deliver
//	crossroom.deliveries.skipped             counter        {delivery}      members that were skipped: stalled, or just removed
//	crossroom.dropped.messages               counter        {message}       by crossroom.reason: unwanted, echo, foreign, undecodable, stray, unverified, refused
//	crossroom.decode.failures                counter        {message}       unreadable messages
//	crossroom.lost.messages                  counter        {message}       accepted messages that were not sent, by crossroom.reason: lost, uncertain
//	crossroom.served.requests                counter        {request}       requests of other nodes, by crossroom.outcome: served, refused
//	crossroom.callback.failures              counter        {call}          calls of the application, by crossroom.reason: panic, stall
//	crossroom.query.duration                 histogram      s               queries, by crossroom.outcome: complete, partial, failed
//	crossroom.query.answered                 counter        {node}          nodes that responded
//	crossroom.query.missing                  counter        {node}          nodes that did not respond
//	crossroom.interruptions                  counter        {interruption}  outages of a namespace's subscription; "" is the control channel
//	crossroom.interruption.duration          histogram      s               … duration of those that have ended
//	crossroom.header.ignored                 counter        {entry}         ignored entries of headers, by crossroom.reason: malformed, oversized, unusable, panic
//	crossroom.members                        updowncounter  {member}        local members of a namespace
//	crossroom.rooms                          updowncounter  {room}          rooms that local members have joined
//	crossroom.peers                          updowncounter  {node}          known peers: other Crossroom nodes
//	crossroom.subscriptions                  updowncounter  {subscription}  filters subscribed to at the broker
//	crossroom.publish.queue.messages         updowncounter  {message}       accepted messages that wait to be sent
//	crossroom.publish.queue.bytes            updowncounter  By              … their bytes
//	crossroom.subscription.last_message.age  gauge          s               time since the last message of a namespace's subscription, or of the control channel ("", control)
//
// Nearly all of them have the node's id as messaging.client.id, because a process may have several nodes. A node has a
// new id after each start, unless you name nodes yourself. If that makes too many time series, drop the attribute with
// a view.
package otelbackplane
