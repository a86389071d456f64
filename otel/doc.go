// Package otelbackplane traces and measures a fleet with OpenTelemetry: one trace shows
// a broadcast from the request that caused it over the broker to every node that
// delivered it, and a question to the fleet with who answered when and who did not.
//
//	observer, err := otelbackplane.New(nil) // the global providers
//	server, err := adapter.New(b, &adapter.Options{Observers: []observe.Observer{observer}})
//
// It needs the OpenTelemetry API only; bring an SDK and exporters of your own. Shut the
// SDK's providers down after the server, so that the last spans are exported.
//
// # Spans
//
// Names, kinds and attributes are those of the semantic conventions for messaging,
// version 1.43. The destination in a name is the namespace, with "#{room}" for a message
// to exactly one room: names of rooms are attributes only (see Options.HideRooms).
//
//	publish NAMESPACE            producer  a broadcast, on the node or emitter that sends it
//	deliver NAMESPACE            consumer  each other node that reads it: child of publish, or
//	                                       linked to it (Options.Links)
//	query OPERATION NAMESPACE    client    a question to the fleet; an event "answer" for each
//	                                       answer, and "missing" for each node that gave none
//	answer OPERATION NAMESPACE   server    each node that is asked: child of query
//	send OPERATION NAMESPACE     producer  what wants no answer, such as a server-side emit
//	process OPERATION NAMESPACE  consumer  each node that gets that: as deliver
//
// OPERATION is one of members, rooms-of, rooms, join, leave, disconnect, custom,
// event, and broadcast for one with acknowledgements. The publisher's own sockets have no
// span of their own: publish lasts until they have the message, and says how many they
// are. A deliver span with the outcome unwanted is of a node on which nobody is selected.
//
// A query that somebody has not answered has the status error, and names the missing in
// its text. OnRequest, OnEvent and what the adapter makes of them get a context with
// their span in it. So do trace-aware log handlers, with reports about what went wrong
// while a message was delivered or a request served.
//
// Attributes of the conventions: messaging.system (the broker's name),
// messaging.operation.name and .type, messaging.destination.template and .name,
// messaging.client.id (the node's id), messaging.message.body.size (the payload) and
// .envelope.size (the whole message), messaging.message.conversation_id (a request's
// id), error.type. Those of our own:
//
//	crossroom.namespace            namespace
//	crossroom.prefix               prefix of the broker's channels, if it has one
//	crossroom.rooms                names of the rooms, the first 16 (Options.HideRooms)
//	crossroom.rooms.count          how many rooms; 0 is everybody
//	crossroom.except.count         how many exceptions
//	crossroom.origin               id of the node that sent the message
//	crossroom.outcome              deliver: delivered or unwanted
//	crossroom.members.matched      local members that are selected
//	crossroom.members.delivered    … that have it
//	crossroom.members.skipped      … passed over, because they were stalled or just removed
//	crossroom.members.panicked     … that panicked
//	crossroom.operation            as in the names of spans
//	crossroom.nodes.expected       answers that were waited for
//	crossroom.nodes.answered       … that came
//	crossroom.nodes.missing        … that did not
//	crossroom.nodes.missing.names  ids of the nodes that are missing
//	crossroom.node                 in events: the node; "unannounced" if it does not say
//	crossroom.reason               in events: gone, silent, timeout, busy or refused
//	crossroom.header.ignored       how much of what travelled with the message was ignored
//
// # What travels
//
// The context goes in the header of messages: on the native wire in a field of its own,
// on the wire of Socket.IO as keys beside the others, which no Node.js server minds and
// no client ever sees (docs/PROTOCOL.md, section 13): traceparent, tracestate and
// baggage, in the options of a broadcast and at the top level of requests. A process in
// Node.js that sets them there is continued. A message without them begins a trace.
//
// Whatever is wrong with them (too long, unreadable, no text, there twice, another
// version) is ignored and counted, and so is what a propagator writes that is too large,
// and its panics. No message is lost, late or different for it.
//
// Baggage goes to every node of the fleet, and to whoever can read the broker: set
// Options.Propagator to propagation.TraceContext if it may not.
//
// # Metrics
//
// Units and names by the conventions; durations are in seconds and suit exponential
// histograms. What happens for each message is read from the counters of nodes and
// brokers when it is collected, so that a message costs nothing more. The histograms,
// crossroom.query.answered, crossroom.query.missing, crossroom.interruptions and
// crossroom.header.ignored are recorded when they happen.
//
//	messaging.client.sent.messages           counter        {message}       broadcasts to be published; error.type if they were not
//	crossroom.sent.bytes                     counter        By              … as they go out
//	messaging.client.consumed.messages       counter        {message}       messages of all kinds from the broker
//	crossroom.received.bytes                 counter        By              … those that were read
//	messaging.process.duration               histogram      s               from a broadcast's decoding until the last local member has it
//	crossroom.deliveries                     counter        {delivery}      messages handed to local members, each to each
//	crossroom.deliveries.skipped             counter        {delivery}      members passed over: stalled, or just removed
//	crossroom.dropped.messages               counter        {message}       by crossroom.reason: unwanted, echo, foreign, undecodable, stray
//	crossroom.decode.failures                counter        {message}       unreadable messages
//	crossroom.lost.messages                  counter        {message}       accepted and not sent, by crossroom.reason: lost, uncertain
//	crossroom.served.requests                counter        {request}       of other nodes, by crossroom.outcome: served, refused
//	crossroom.callback.failures              counter        {call}          of the application, by crossroom.reason: panic, stall
//	crossroom.query.duration                 histogram      s               questions, by crossroom.outcome: complete, partial, failed
//	crossroom.query.answered                 counter        {node}          nodes that answered
//	crossroom.query.missing                  counter        {node}          nodes that did not
//	crossroom.interruptions                  counter        {interruption}  outages of a namespace's subscription; "" is the control channel
//	crossroom.interruption.duration          histogram      s               … that have ended
//	crossroom.header.ignored                 counter        {entry}         by crossroom.reason: malformed, oversized, unusable, panic
//	crossroom.members                        updowncounter  {member}        local members of a namespace
//	crossroom.rooms                          updowncounter  {room}          rooms they have joined
//	crossroom.peers                          updowncounter  {node}          other Crossroom nodes that are known
//	crossroom.subscriptions                  updowncounter  {subscription}  filters subscribed to at the broker
//	crossroom.publish.queue.messages         updowncounter  {message}       accepted messages that wait to be sent
//	crossroom.publish.queue.bytes            updowncounter  By              … their bytes
//	crossroom.subscription.last_message.age  gauge          s               since a namespace's subscription, or the control channel ("", control), last brought something
//
// The node's id is on nearly all of them as messaging.client.id, as a process may have
// several nodes. It is another one after each start, unless you name nodes yourself;
// where that makes too many time series, drop it with a view.
package otelbackplane
