package adapter

import (
	"context"
	"errors"
	"time"

	"github.com/crossroom/crossroom/adapter/internal/multilink"
	"github.com/crossroom/crossroom/backplane"
	"github.com/crossroom/crossroom/backplane/observe"
	"github.com/crossroom/crossroom/internal/msgpack"
	"github.com/crossroom/crossroom/internal/wire"
)

// fleet reaches the other servers of a namespace: a *leg over one link, several over more. Operations on local sockets
// go to the namespace's first leg instead.
type fleet interface {
	// emit sends an event. isID reports names that are known to be ids of sockets.
	emit(ctx context.Context, payload []byte, t wire.Selection, isID func(string) bool) error
	broadcastAck(ctx context.Context, payload []byte, t wire.Selection, timeout time.Duration, on wire.AckFuncs) (*backplane.Acks, error)
	// members lists sockets in no order; with detail, including their rooms and descriptions.
	members(ctx context.Context, t wire.Selection, detail bool) (*backplane.Result[backplane.MemberInfo], error)
	// count counts sockets, without a list where the servers can.
	count(ctx context.Context, t wire.Selection) (*backplane.Count, error)
	rooms(ctx context.Context) (*backplane.Result[string], error)
	// eachMember and eachRoom list in pages, where the servers of the only link can: see Operator.EachSocket.
	eachMember(ctx context.Context, t wire.Selection, yield func(wire.MemberInfo) bool) error
	eachRoom(ctx context.Context, yield func(string) bool) error
	peers(ctx context.Context) (*observe.Peers, error)
	// onSocket carries out an operation on one socket that is not local.
	onSocket(ctx context.Context, f func(context.Context, *leg) error) error
	// change carries out an operation on the selected sockets, local ones first.
	change(ctx context.Context, op wire.Op, t wire.Selection, all onSelection, one onSocket) error
	// joinable checks rooms that sockets of other servers are to join, before any joins one.
	joinable(rooms []string) error
	// customAllowed ensures that a custom request crashes no server.
	customAllowed(ctx context.Context) error
	custom(ctx context.Context, payload []byte) (*backplane.Result[backplane.Reply], error)
	// hasEvents refuses an operation if no dialect in use has events for servers.
	hasEvents(operation string) error
	checkServerEvent(payload []byte) error
	event(ctx context.Context, payload []byte) error
	eventAck(ctx context.Context, payload []byte) (*backplane.Result[backplane.Reply], error)
}

// onSelection carries out an operation on the sockets that a filter selects on a link, onSocket on one socket there.
type (
	onSelection func(context.Context, *leg, wire.Selection) (*backplane.Count, error)
	onSocket    func(ctx context.Context, l *leg, id string) error
)

// relayHeader is the header entry that carries the relay mark of events with
// acknowledgement.
const relayHeader = "relay"

// answeredElsewhere is the acknowledgement of a socket that has received the event over another link already: an
// extension value that no application sends.
var answeredElsewhere = msgpack.AppendExt(nil, msgpack.Ext{Type: 99, Data: []byte("again")})

// eachLeg calls f on all links at the same time.
func eachLeg(legs []*leg, f func(i int, l *leg) error) error {
	if len(legs) == 1 {
		return f(0, legs[0])
	}
	return multilink.First(multilink.Each(legs, func(l *leg) error { return l.named(f(l.index, l)) })...)
}

// named adds the link's name to an error if the server has several links. Errors of contexts, and partial results,
// which are merged later, stay unchanged.
func (l *leg) named(err error) error {
	var pe *backplane.PartialError
	if err == nil || err == context.Canceled || err == context.DeadlineExceeded || errors.As(err, &pe) {
		return err
	}
	return &LinkError{Prefix: l.key, Err: err}
}
